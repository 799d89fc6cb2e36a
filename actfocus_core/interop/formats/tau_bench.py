"""tau-bench's trajectories and tau2-bench's results: evaluations of agents that call tools.

Source: ``tau_bench/types.py`` and ``tau2/data_model/simulation.py``, read in November 2026. tau-bench: one array of ``task_id``, ``trial``,
``reward`` and ``traj``. tau2-bench: one document with ``simulations``, or a document for each. Every task begins with the same words, so
the task names the group. Greetings of the assistant that tau2-bench itself writes are not marked in its files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actfocus_core.interop.fields import number, scalars
from actfocus_core.interop.messages import messages_of
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import LeftOut, Sample, masked_by

_KNOWN = {"task_id", "traj", "reward", "termination_reason", "id", "timestamp", "start_time", "end_time"}
_CUT = ("max_steps", "timeout")
SIMULATION = {"task_id", "messages", "reward_info"}
VOICE = "simulations without messages (speech)"


def matches(fields: dict[str, Any]) -> bool:
    names = set(fields)
    return any(needed <= names for needed in ({"task_id", "traj"}, {"simulations", "tasks"}, SIMULATION))


def samples(record: Record, file: DataFile) -> Iterator[Sample | LeftOut]:
    if "traj" not in record:
        for simulation in record.records("simulations") if "simulations" in record else [record]:
            yield _simulation(simulation) if "messages" in simulation else LeftOut(VOICE)
        return
    messages = messages_of(record, "traj")
    yield Sample(
        record.where,
        messages,
        record.key("task_id"),
        reward=number(record, "reward"),
        columns=scalars(record, _KNOWN),
        mask_by=masked_by(messages),
    )


def _simulation(record: Record) -> Sample:
    messages = messages_of(record, "messages")
    reward = record.record("reward_info", Record({}, record.where))
    stop = record.text("termination_reason", "")
    return Sample(
        record.where,
        messages,
        record.key("task_id"),
        reward=number(reward, "reward"),
        terminated=stop not in _CUT,
        truncated=stop in _CUT,
        columns=scalars(record, _KNOWN),
        stop_reason=stop,
        error=stop if "error" in stop else "",
        mask_by=masked_by(messages),
    )
