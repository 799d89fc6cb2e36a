"""RAGEN's evaluation JSONL: ``custom_id, messages, metadata``; RAGEN has normalised the text.

``metadata`` has the reward as ``total_reward``, and the outcome as ``TAG/success``: the plain ``success`` beside it is written
as false where there is none of that name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actfocus_core.interop.fields import number, scalars, success_of
from actfocus_core.interop.messages import messages_of
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import Sample, masked_by

_KNOWN = {"group_id", "total_reward", "success", "env_id", "tag", "env_type"}


def matches(fields: dict[str, Any]) -> bool:
    return (
        {"messages", "metadata"} <= set(fields)
        and isinstance(fields["metadata"], dict)
        and ("custom_id" in fields or "env_id" in fields["metadata"])
    )


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    metadata, messages = record.record("metadata"), messages_of(record, "messages")
    tagged = [name for name in metadata.value if name.endswith("/success")]
    success = success_of(metadata, tagged or ("success",))
    yield Sample(
        record.where,
        messages,
        metadata.key("group_id", ""),
        env=str(metadata.key("tag", "") or metadata.key("env_type", "")),
        reward=number(metadata, "total_reward"),
        success=success,
        columns=scalars(metadata, _KNOWN),
        mask_by=masked_by(messages),
    )
