"""SkyRL's evaluation dump, ``dumped_evals/global_step_N_evals/*.jsonl``: text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actfocus_core.interop.samples import Sample, digest, prompt_and_completion
from actfocus_core.interop.sources import Record


def matches(fields: dict[str, Any]) -> bool:
    return {"input_prompt", "output_response"} <= set(fields)


def samples(record: Record, path: Path) -> Iterator[Sample]:
    step = re.search(r"global_step_(\d{1,9})", path.parent.name)
    if isinstance(record.value.get("score"), list):
        # One reward per token; the return is their sum.
        reward = float(record.floats("score", len(record.value["score"])).sum())
    else:
        reward = record.number("score", float("nan"))
    truncated = record.text("stop_reason", "") == "length"
    yield Sample(
        record.where,
        prompt_and_completion(record, "input_prompt", "output_response"),
        digest(record.value["input_prompt"]),
        step=int(step[1]) if step else 0,
        env=record.text("env_class", ""),
        reward=reward,
        terminated=not truncated,
        truncated=truncated,
    )
