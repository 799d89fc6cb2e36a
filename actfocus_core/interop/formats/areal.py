"""AReaL's rollout dump, ``rollout/{version}/{task_id}.jsonl``: prompt and completion as text.

``reward`` is the reward; ``head_version`` and ``tail_version``, the versions of the weights at the first and the last token, are
columns, and the former is the step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actfocus_core.interop.fields import number, scalars
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import Sample, prompt_and_completion

_KNOWN = {"task_id", "prompt", "completion", "reward", "seqlen", "prompt_len"}


def matches(fields: dict[str, Any]) -> bool:
    return {"task_id", "prompt", "completion", "seqlen"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    version = record.integer("head_version", None, low=-1)
    yield Sample(
        record.where,
        prompt_and_completion(record, "prompt", "completion"),
        record.key("task_id"),
        step=None if version is None else max(version, 0),
        reward=number(record, "reward"),
        columns=scalars(record, _KNOWN),
    )
