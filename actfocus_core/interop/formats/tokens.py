"""Exact token ids with a mask, a rollout per line: for code of one's own, and what ``convert_dump`` writes.

``token_ids`` and ``loss_mask`` are required. Streams have a value per token, null where there is none. A scalar field that
is not known becomes a column.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from actfocus_core.interop.fields import components, error_text, number, scalars, success_of, total
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import Sample, Tokens

STREAMS = {
    "trainer_logprobs": "trainer_logprob",
    "ref_logprobs": "ref_logprob",
    "teacher_logprobs": "teacher_logprob",
    "advantages": "advantage",
    "values": "value",
    "entropies": "entropy",
}
_SCALARS = {
    "group",
    "rollout",
    "step",
    "env",
    "model",
    "agent",
    "reward",
    "success",
    "truncated",
    "stop_reason",
    "advantage",
}


def matches(fields: dict[str, Any]) -> bool:
    return {"token_ids", "loss_mask"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    ids = record.ids("token_ids")
    sampled = record.mask("loss_mask", len(ids))

    def stream(name: str) -> np.ndarray:
        return np.where(sampled, record.floats(name, len(ids)), np.float32(np.nan))

    blank = np.full(len(ids), np.nan, np.float32)
    signals = {ours: stream(theirs) for theirs, ours in STREAMS.items() if record.value.get(theirs)}
    parts = components(record, "rewards") if record.value.get("rewards") else {}
    truncated = record.flag("truncated", False)
    yield Sample(
        record.where,
        Tokens(ids, sampled, stream("logprobs") if record.value.get("logprobs") else blank, signals),
        record.key("group", ""),
        step=record.integer("step", None),
        env=record.text("env", ""),
        model=record.text("model", ""),
        agent=record.text("agent", ""),
        reward=total(parts) if parts else number(record, "reward"),
        rewards=parts,
        success=success_of(record, ("success",)),
        terminated=not truncated,
        truncated=truncated,
        advantage=record.number("advantage", None),
        rollout=record.key("rollout", ""),
        columns=scalars(record, _SCALARS),
        error=error_text(record),
        stop_reason=record.text("stop_reason", ""),
    )
