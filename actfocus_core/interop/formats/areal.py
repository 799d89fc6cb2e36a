"""AReaL's rollout dump, ``rollout/{version}/{task_id}.jsonl``: prompt and completion as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actfocus_core.interop.samples import Sample, prompt_and_completion
from actfocus_core.interop.sources import Record


def matches(fields: dict[str, Any]) -> bool:
    return {"task_id", "prompt", "completion", "seqlen"} <= set(fields)


def samples(record: Record, path: Path) -> Iterator[Sample]:
    version = record.integer("head_version", 0, low=-1)
    yield Sample(
        record.where,
        prompt_and_completion(record, "prompt", "completion"),
        record.key("task_id"),
        step=max(version, 0),
        reward=record.number("reward", float("nan")),
    )
