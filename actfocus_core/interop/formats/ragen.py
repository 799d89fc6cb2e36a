"""RAGEN's evaluation JSONL: ``custom_id, messages, metadata``; RAGEN has normalised the text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actfocus_core.interop.samples import Message, Sample, digest, messages_of
from actfocus_core.interop.sources import Record


def matches(fields: dict[str, Any]) -> bool:
    return (
        {"messages", "metadata"} <= set(fields)
        and isinstance(fields["metadata"], dict)
        and ("custom_id" in fields or "env_id" in fields["metadata"])
    )


def samples(record: Record, path: Path) -> Iterator[Sample]:
    metadata, messages = record.record("metadata"), messages_of(record, "messages")
    success = metadata.value.get("success")
    yield Sample(
        record.where,
        messages,
        metadata.key("group_id", "") or _prompt(messages),
        env=str(metadata.key("tag", "") or metadata.key("env_type", "")),
        reward=metadata.number("total_reward", float("nan")),
        success=bool(success) if isinstance(success, (bool, int, float)) else None,
    )


def _prompt(messages: list[Message]) -> str:
    return digest([m.content for m in messages[:2] if m.role != "assistant"])
