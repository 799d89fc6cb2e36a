"""Chat JSONL in OpenAI's format: ``messages``, or ``prompt`` and ``completion``; optionally a ``reward``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actfocus_core.interop.samples import Message, Part, Sample, digest, messages_of, prompt_and_completion
from actfocus_core.interop.sources import Record


def matches(fields: dict[str, Any]) -> bool:
    return "messages" in fields or {"prompt", "completion"} <= set(fields)


def samples(record: Record, path: Path) -> Iterator[Sample]:
    content = (
        messages_of(record, "messages")
        if "messages" in record
        else prompt_and_completion(record, "prompt", "completion")
    )
    reward = record.number("reward", None)
    truncated = record.flag("truncated", False)
    yield Sample(
        record.where,
        content,
        record.key("group", "") or _prompt(content),
        step=record.integer("step", 0),
        env=record.text("env", ""),
        model=record.text("model", ""),
        reward=record.number("score", float("nan")) if reward is None else reward,
        success=record.flag("success", None),
        terminated=not truncated,
        truncated=truncated,
    )


def _prompt(content: list[Message] | list[Part]) -> str:
    """The name of the prompt, from everything before the first reply."""
    first = content[0] if content else None
    if not isinstance(first, Message):
        return digest(first.text if first else "")
    prompt = []
    for message in content:
        if not isinstance(message, Message) or message.role == "assistant":
            break
        prompt.append([message.role, message.content])
    return digest(prompt)
