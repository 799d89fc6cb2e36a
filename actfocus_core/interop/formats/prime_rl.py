"""prime-rl's token export, ``token_exports/step_N/rank_R.jsonl``: exact ids, no text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import Sample, Tokens

_SIGNALS = {
    "advantages": "advantage",
    "trainer_logprobs": "trainer_logprob",
    "entropy": "entropy",
    "mismatch_kl": "mismatch_kl",
    "importance_ratio": "importance_ratio",
    "prob_delta": "prob_delta",
}


def matches(fields: dict[str, Any]) -> bool:
    return {"token_ids", "loss_mask", "inference_logprobs"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    ids = record.ids("token_ids")
    sampled = record.mask("loss_mask", len(ids))

    def over_sampled(name: str) -> np.ndarray:
        # Values of tokens outside the loss are padding.
        return np.where(sampled, record.floats(name, len(ids)), np.float32(np.nan))

    signals = {ours: over_sampled(name) for name, ours in _SIGNALS.items() if name in record}
    if "is_masked" in record:
        signals["masked"] = np.where(sampled, record.flags("is_masked", len(ids)), np.float32(np.nan))
    tokens = Tokens(
        ids,
        sampled,
        over_sampled("inference_logprobs"),
        {name: values for name, values in signals.items() if np.isfinite(values).any()},
    )
    rewards = record.floats("rewards", len(ids)) if "rewards" in record else np.zeros(0)
    rewards = rewards[np.isfinite(rewards)]
    yield Sample(
        record.where,
        tokens,
        env=record.text("env_name", ""),
        step=record.integer("export_step", None) or record.integer("step", None),
        reward=float(rewards[-1]) if len(rewards) else float("nan"),
    )
