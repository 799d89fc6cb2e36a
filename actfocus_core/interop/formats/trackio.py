"""trackio's traces: messages with metadata, exported as Parquet, or as JSON of its interface.

Source: ``trackio/trace.py`` and ``trackio/sqlite_storage.py``. The columns ``messages`` and ``metadata`` of
``PROJECT_traces.parquet`` and ``aux/traces.parquet`` are JSON text. TRL's asynchronous GRPO writes ``reward``,
``rewards/FUNCTION``, ``advantage``, ``group_id`` and ``model_version`` into the metadata; the weights of the reward
functions are not written. What another program puts there becomes columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actfocus_core.interop.fields import NAN, decoded, error_text, number, scalars, success_of
from actfocus_core.interop.formats.chat import SUCCESS
from actfocus_core.interop.messages import messages_of
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import Sample, masked_by
from actfocus_core.trajectory import Component

TYPE = "trackio.trace"
REWARDS = "rewards/"
SPANS = "spans of traces"
_KNOWN = {"reward", "advantage", "group_id"}


def matches(fields: dict[str, Any]) -> bool:
    table = {"messages", "metadata", "run_name", "key", "trace_index"} <= set(fields)
    answer = {"messages", "metadata", "run", "key", "index"} <= set(fields)
    return fields.get("_type") == TYPE or table or answer


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    record = decoded(record, "messages", "metadata", "spans")
    metadata = record.record("metadata", Record({}, record.where))
    names = [name for name in metadata.value if name.startswith(REWARDS) and name in metadata]
    messages = messages_of(record, "messages")
    yield Sample(
        record.where,
        messages,
        metadata.key("group_id", ""),
        step=record.integer("step", None),
        run=record.text("run_name", "") or record.text("run", ""),
        reward=number(metadata, "reward"),
        rewards={name.removeprefix(REWARDS): Component(number(metadata, name), NAN) for name in names},
        success=success_of(metadata, SUCCESS),
        advantage=metadata.number("advantage", None),
        columns=scalars(metadata, {*_KNOWN, *names}),
        error=error_text(metadata),
        mask_by=masked_by(messages),
        unread=(SPANS,) if record.value.get("spans") else (),
    )
