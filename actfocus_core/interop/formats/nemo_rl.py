"""NeMo-RL's ``train_data_step{N}.jsonl``: exact ids with masks, advantages and the log-probs of both policies.

Source: ``nemo_rl/algorithms/grpo.py`` and ``Logger.log_batched_dict_as_jsonl``, read in November 2026. Every line is a batch of
one, so each field is a list with one entry, which is padded to the batch and cut at ``input_lengths``. ``sample_loss_mask`` 0
means that the rollout is out of the loss. With dynamic sampling ``filtered_rewards`` belong to the rows, and ``rewards`` to the
unfiltered batch. Groups are not in the file; rollouts with equal prompts are one group.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import Sample, Tokens

LOGPROBS, SIGNALS = "generation_logprobs", {"prev_logprobs": "trainer_logprob", "advantages": "advantage"}


def matches(fields: dict[str, Any]) -> bool:
    return {"token_ids", "token_loss_mask", "input_lengths"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    row = Record({name: _only(value) for name, value in record.value.items()}, record.where)
    ids = row.ids("token_ids")
    length = row.integer("input_lengths", high=len(ids))
    sampled = row.mask("token_loss_mask", len(ids))[:length]

    def scores(name: str) -> np.ndarray:
        # Values of tokens that were not sampled are padding.
        return np.where(sampled, row.floats(name, len(ids))[:length], np.float32(np.nan))

    blank = np.full(length, np.nan, np.float32)
    yield Sample(
        record.where,
        Tokens(
            ids[:length],
            sampled,
            scores(LOGPROBS) if LOGPROBS in row else blank,
            {ours: scores(theirs) for theirs, ours in SIGNALS.items() if theirs in row},
        ),
        reward=row.number("filtered_rewards" if "filtered_rewards" in row else "rewards", float("nan")),
        trained=row.number("sample_loss_mask", 1.0) > 0,
    )


def _only(value: Any) -> Any:
    """The value of a batch of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
