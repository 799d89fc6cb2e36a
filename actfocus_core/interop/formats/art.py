"""OpenPipe ART's trajectories: a group per line, or a trajectory per row of Parquet.

Source: ``src/art/utils/trajectory_logging.py`` and ``trajectory_migration.py``, and files of ART 0.5.18. ART trains on
the choices that the model returned, which hold a message; plain messages are context. It removes the log-probs of
choices when it logs them. The number in the name of a file is the step. ``additional_histories`` are further dialogues
of the same rollout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from actfocus_core.interop.fields import decoded, number, scalars, success_of
from actfocus_core.interop.formats.chat import SUCCESS
from actfocus_core.interop.logprobs import scored
from actfocus_core.interop.messages import Message, messages_of
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import RECORDED, LeftOut, Sample

_JSON = ("metrics", "metadata", "additional_histories")
EXCEPTIONS = "rollouts that ended in an exception, of which nothing was logged"
EMPTY_GROUPS = "groups without a trajectory"


def matches(fields: dict[str, Any]) -> bool:
    trajectories = fields.get("trajectories")
    group = isinstance(trajectories, list) and any(
        isinstance(item, dict) and "messages_and_choices" in item for item in trajectories[:1]
    )
    return group or {"group_index", "reward", "metrics", "metadata", "messages"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample | LeftOut]:
    name = file.path.name.split(".")[0]
    step = int(name) if name.isascii() and name.isdigit() and len(name) < 9 else None
    # Numbers of groups begin again in every file.
    scope = "" if step is not None else file.path.name
    if "trajectories" not in record:
        yield from _rollout(
            decoded(record, *_JSON), "messages", f"{scope} {record.integer('group_index')}".strip(), step
        )
        return
    exceptions = record.value.get("exceptions")
    yield from [LeftOut(EXCEPTIONS)] * (len(exceptions) if isinstance(exceptions, list) else 0)
    trajectories = record.records("trajectories")
    place = record.where.removeprefix(str(file.path)).removeprefix(", ")
    for trajectory in trajectories:
        yield from _rollout(trajectory, "messages_and_choices", f"{scope} {place}".strip() or "0", step)
    if not trajectories:
        yield LeftOut(EMPTY_GROUPS)


def _rollout(trajectory: Record, name: str, group: str, step: int | None) -> Iterator[Sample]:
    """A sample per dialogue of a trajectory."""
    histories = [(trajectory, name)]
    if trajectory.value.get("additional_histories"):
        histories += [(history, "messages_and_choices") for history in trajectory.records("additional_histories")]
    empty = Record({}, trajectory.where)
    metrics, metadata = trajectory.record("metrics", empty), trajectory.record("metadata", empty)
    for history, field in histories:
        messages, stop = _messages(history, field)
        yield Sample(
            trajectory.where,
            messages,
            group,
            step=step,
            reward=number(trajectory, "reward"),
            success=success_of(metrics, SUCCESS),
            terminated=stop != "length",
            truncated=stop == "length",
            rollout=trajectory.where if len(histories) > 1 else "",
            columns=scalars(metadata, ()) | scalars(metrics, ()),
            stop_reason=stop,
            mask_by=RECORDED,
        )


def _messages(history: Record, name: str) -> tuple[list[Message], str]:
    """The messages of a dialogue, and why its last choice ended."""
    found: list[Message] = []
    stop = ""
    for item in history.records(name):
        is_choice = "message" in item
        message = item.record("message") if is_choice else item
        # Parquet has a flag in place of the choice, and calls as JSON text.
        value = decoded(message, "tool_calls").value
        trained = item.flag("trainable", False) if not is_choice else True
        marked = Record({"messages": [value | {"trainable": trained}]}, message.where)
        added = messages_of(marked, "messages")
        if is_choice and len(added) == 1:
            added = [replace(added[0], scored=scored(item))]
        found += added
        stop = item.text("finish_reason", "") if is_choice else stop
    return found, stop
