"""The result of a Harbor trial, beside the trajectories of its agent.

Source: ``TrialResult`` and ``TrialPaths`` in ``harbor/models/trial`` of Harbor 0.26. ``verifier_result.rewards`` names
the rewards, usually one named ``reward``; where the task has several steps, each has a result of its own. A reward
that Harbor marks as not valid is unknown.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.fields import NAN, number
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import Record, read_records
from actfocus_core.trajectory import Component

RESULT = "result.json"
UNREADABLE_RESULTS = "results of trials that cannot be read"
SEVERAL_REWARDS = "results of trials with several rewards, none of which is named 'reward'"


@dataclass(frozen=True)
class Trial:
    """What the result of a trial states."""

    group: str = ""
    """The task"""
    source: str = ""
    reward: float = NAN
    rewards: dict[str, Component] = field(default_factory=dict)
    error: str = ""
    stop: str = ""
    columns: dict[str, Any] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    @property
    def timed_out(self) -> bool:
        return self.stop == "AgentTimeoutError"


def matches(fields: dict[str, Any]) -> bool:
    return {"trial_name", "task_name", "agent_info"} <= set(fields)


def result_of(trajectory: Path) -> tuple[Path | None, str]:
    """The result, None without one, and the step of ``TRIAL/agent/NAME`` or ``TRIAL/steps/STEP/agent/NAME``."""
    folder = trajectory.parent.parent
    step = folder.name if folder.parent.name == "steps" else ""
    path = (folder.parent.parent if step else folder) / RESULT
    return path if trajectory.parent.name == "agent" and path.is_file() else None, step


def of(trajectory: Path) -> Trial:
    """The trial of a trajectory; unknown if there is no result."""
    path, step = result_of(trajectory)
    if path is None:
        return Trial()
    record = first_record(path)
    try:
        return _trial(record, step) if record and matches(record.value) else Trial(unread=(UNREADABLE_RESULTS,))
    except ActFocusError:
        return Trial(unread=(UNREADABLE_RESULTS,))


def first_record(path: Path) -> Record | None:
    """The first object of a JSON file that is no link; None if it cannot be read."""
    try:
        return next(read_records(path, Omissions()), None) if stat.S_ISREG(path.lstat().st_mode) else None
    except (ActFocusError, OSError):
        return None


def _trial(record: Record, step: str) -> Trial:
    scored, unread = record, tuple[str, ...]()
    if step:
        found = record.records("step_results") if "step_results" in record else []
        scored = next((one for one in found if one.text("step_name", "") == step), Record({}, record.where))
    verifier = scored.record("verifier_result", Record({}, record.where))
    named = verifier.record("rewards", Record({}, record.where))
    values = {name: number(named, name) for name in named.value}
    main = "reward" if "reward" in values else next(iter(values)) if len(values) == 1 else None
    is_valid = record.flag("reward_valid", True)
    failure = scored.record("exception_info", None) or record.record("exception_info", None)
    if len(values) > 1 and main is None:
        unread = (SEVERAL_REWARDS,)
    return Trial(
        record.text("task_name"),
        record.text("source", ""),
        values[main] if main is not None and is_valid else NAN,
        {name: Component(value, 1.0 if name == main else NAN) for name, value in values.items()} if is_valid else {},
        failure.text("exception_message", "") or failure.text("exception_type", "an error") if failure else "",
        failure.text("exception_type", "") if failure else "",
        {"trial_name": record.text("trial_name")},
        unread,
    )
