"""Atropos' ``ScoredDataGroup``: a group of rollouts per line, with exact ids, masks and scores.

Source: ``ScoredDataGroup`` in ``atroposlib/envs/base.py``, read in November 2026. ``masks`` repeat the ids of the tokens to
train on, and are -100 elsewhere. ``advantages`` and log-probs are per token where they are given; ``scores`` are the rewards.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import Sample, Tokens

OUT = -100
_SCORES = {"advantages": "advantage", "ref_logprobs": "ref_logprob"}
_LOGPROBS = "inference_logprobs"


def matches(fields: dict[str, Any]) -> bool:
    return {"tokens", "masks", "scores"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    rows = record.get("tokens", list, "a list with the ids of each rollout")
    rewards = record.floats("scores", len(rows))
    group = f"{file.path.name}{record.where.removeprefix(str(file.path))}"
    for number, reward in enumerate(rewards.astype(float).tolist()):
        row = Record(
            {
                name: value[number]
                for name in ("tokens", "masks", _LOGPROBS, *_SCORES)
                if (value := _listed(record, name, rows))
            },
            f"{record.where}: rollout {number}",
        )
        yield Sample(row.where, _tokens(row), group=group, reward=reward)


def _listed(record: Record, name: str, rows: list[Any]) -> list[Any] | None:
    """A field with an entry per rollout; None if it is absent or empty."""
    if not record.value.get(name):
        return None
    value: list[Any] = record.get(name, list, "a list with an entry per rollout")
    if len(value) != len(rows):
        raise record.error(repr(name), f"has {len(value)} entries; it must have {len(rows)}, one per rollout")
    return value


def _tokens(row: Record) -> Tokens:
    ids = row.ids("tokens")
    masks = row.items("masks", {int}, "integers", len(ids))
    sampled = row.within("masks", masks, OUT, 2**31 - 1) != OUT

    def scores(name: str) -> np.ndarray:
        return np.where(sampled, row.floats(name, len(ids)), np.float32(np.nan))

    return Tokens(
        ids,
        sampled,
        scores(_LOGPROBS) if _LOGPROBS in row else np.full(len(ids), np.nan, np.float32),
        {ours: scores(theirs) for theirs, ours in _SCORES.items() if theirs in row},
    )
