"""Chat JSONL in OpenAI's manner: ``messages``, or ``prompt`` and ``completion``; maybe a ``reward``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from actfocus_core.interop.samples import Message, Sample, digest, messages_of, prompt_and_completion
from actfocus_core.interop.sources import Record


def looks(fields: dict) -> bool:
    return "messages" in fields or {"prompt", "completion"} <= set(fields)


def samples(record: Record, path: Path) -> Iterator[Sample]:
    content = (
        messages_of(record, "messages")
        if "messages" in record
        else prompt_and_completion(record, "prompt", "completion")
    )
    reward = record.number("reward", None)
    cut = record.flag("truncated", False)
    yield Sample(
        record.where,
        content,
        record.key("group", None) or _prompt(content),
        step=record.integer("step", 0),
        env=record.text("env", ""),
        model=record.text("model", ""),
        reward=record.number("score", float("nan")) if reward is None else reward,
        success=record.flag("success", None),
        terminated=not cut,
        truncated=cut,
    )


def _prompt(content) -> str:
    """What stands before the first reply."""
    if not isinstance(content[0] if content else None, Message):
        return digest(content[0].text if content else "")
    before = []
    for message in content:
        if message.role == "assistant":
            break
        before.append([message.role, message.content])
    return digest(before)
