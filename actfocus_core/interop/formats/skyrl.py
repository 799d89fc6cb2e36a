"""SkyRL's evaluation dump, ``dumped_evals/global_step_N_evals/*.jsonl``: text with special tokens.

``score`` is the reward, one number or one per token, whose sum counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actfocus_core.interop.fields import number
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import Sample, prompt_and_completion
from actfocus_core.runs.provenance import Source

PER_TOKEN = Source(how="derived", rule="the sum of the rewards of the tokens")


def matches(fields: dict[str, Any]) -> bool:
    return {"input_prompt", "output_response"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    per_token = isinstance(record.value.get("score"), list)
    stop = record.text("stop_reason", "")
    sample = Sample(
        record.where,
        prompt_and_completion(record, "input_prompt", "output_response"),
        env=record.text("env_class", "") or record.text("data_source", ""),
        terminated=stop != "length",
        truncated=stop == "length",
        stop_reason=stop,
    )
    if per_token:
        sample.reward = float(record.floats("score", len(record.value["score"])).astype(float).sum())
        sample.rewards_by = PER_TOKEN
    else:
        sample.reward = number(record, "score")
    yield sample
