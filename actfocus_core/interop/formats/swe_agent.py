"""Trajectories of SWE-agent (``.traj``) and mini-swe-agent (``.traj.json``): one document per rollout.

Source: SWE-agent's ``docs/usage/trajectories.md`` and mini-swe-agent's ``agents/default.py``, read in November 2026. The dialogue is
``history``, or ``messages`` of mini-swe-agent; neither has a reward, and the exit status is why it stopped. A dialogue whose last agent
differs from the main one belongs to another agent (a reviewer, a retry).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actfocus_core.interop.fields import scalars
from actfocus_core.interop.messages import messages_of
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import Sample, masked_by


def matches(fields: dict[str, Any]) -> bool:
    return {"trajectory", "history"} <= set(fields) or {"messages", "info", "trajectory_format"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    name = "history" if "history" in record else "messages"
    messages = messages_of(_without_demonstrations(record, name), name)
    info = record.record("info", Record({}, record.where))
    status = info.text("exit_status", "") or ""
    cut = "exit_" in status or "limit" in status.lower()
    yield Sample(
        record.where,
        messages,
        env=record.text("environment", ""),
        terminated=bool(status) and not cut,
        truncated=cut,
        stop_reason=status,
        error=status if "error" in status.lower() else "",
        columns=scalars(info, {"exit_status"}),
        mask_by=masked_by(messages),
    )


def _without_demonstrations(record: Record, name: str) -> Record:
    """The record with the replies of demonstrations marked as not sampled."""
    items = [
        {**item.value, "sampled": False} if item.value.get("is_demo") is True else item.value
        for item in record.records(name)
    ]
    return Record({name: items}, record.where)
