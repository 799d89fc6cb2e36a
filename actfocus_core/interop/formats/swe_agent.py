"""Trajectories of SWE-agent (``.traj``) and mini-swe-agent (``.traj.json``): one document per rollout.

Source: SWE-agent's ``docs/usage/trajectories.md`` and mini-swe-agent's ``agents/default.py``, read in November 2026. The dialogue is
``history``, or ``messages`` of mini-swe-agent; neither has a reward, and the exit status is why it stopped. mini-swe-agent ends a
dialogue with a message of the role ``exit``, which nobody saw, and keeps the answers of a Responses API as they came.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actfocus_core.interop.fields import scalars
from actfocus_core.interop.messages import messages_of
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import Sample, masked_by

EXIT = "exit"


def matches(fields: dict[str, Any]) -> bool:
    return {"trajectory", "history"} <= set(fields) or {"messages", "info", "trajectory_format"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    name = "history" if "history" in record else "messages"
    items = record.records(name)
    messages = messages_of(Record({name: list(_said(items))}, record.where), name)
    info = record.record("info", Record({}, record.where))
    status = info.text("exit_status", "") or ""
    cut = "exit_" in status or any(word in status.lower() for word in ("limit", "exceeded"))
    failure = items[-1].record("extra", None) if items and items[-1].value.get("role") == EXIT else None
    raised = failure.text("exception_str", "") if failure else ""
    yield Sample(
        record.where,
        messages,
        env=record.text("environment", ""),
        model=_model(info),
        terminated=bool(status) and not cut,
        truncated=cut,
        stop_reason=status,
        error=raised or (status if "error" in status.lower() else ""),
        columns=scalars(info, {"exit_status"}),
        mask_by=masked_by(messages),
    )


def _said(items: list[Record]) -> Iterator[dict[str, Any]]:
    """The messages and items of the dialogue; the replies of demonstrations are marked as not sampled."""
    for item in items:
        if item.value.get("role") == EXIT:
            continue
        if item.value.get("object") == "response":
            yield from (output.value for output in item.records("output"))
        else:
            yield {**item.value, "sampled": False} if item.value.get("is_demo") is True else item.value


def _model(info: Record) -> str:
    """The model's name in the settings of mini-swe-agent."""
    value: Any = info.value
    for name in ("config", "model", "model_name"):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) and value.isprintable() else ""
