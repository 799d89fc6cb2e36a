"""tinker-cookbook's ``*_rollout_summaries.jsonl``: the rewards of each trajectory of an iteration, without its text.

Source: ``tinker_cookbook/rl/rollout_logging.py``. ``total_reward`` is the sum of the rewards of the turns and of
``final_reward``, which the group gives. A summary does not name the run; it belongs to a captured trajectory of the
same folder with the same iteration, group, number and turns of the same lengths.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.fields import scalars
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import Record, read_records

CAPTURE = "capture"
"""The folder of the captured calls in that of the run"""
SUFFIX = "_rollout_summaries.jsonl"
UNREADABLE_SUMMARIES = "summaries of rollouts that cannot be read"
Place = tuple[Path, int, int, int]
"""The run's folder, the iteration, and the numbers of the group and of the trajectory in it"""


@dataclass(frozen=True)
class Summary:
    """The rewards of one trajectory."""

    split: str
    total: float
    lengths: tuple[int, ...]
    """Number of sampled tokens of each turn"""
    rewards: tuple[float, ...]
    """The reward of each turn, the last with that of the group"""
    columns: dict[str, Any]


class Summaries:
    """The summaries of the runs to which these files belong."""

    def __init__(self, files: Iterable[Path] = (), omissions: Omissions | None = None):
        self._found: dict[Place, list[Summary]] = {}
        omissions = Omissions() if omissions is None else omissions
        for run, file in {_run(file): file for file in files}.items():
            for summaries in of_run(file):
                for record in read_records(summaries, omissions):
                    try:
                        self._add(run, record)
                    except ActFocusError as error:
                        omissions.refuse(UNREADABLE_SUMMARIES, error)

    def __bool__(self) -> bool:
        return bool(self._found)

    def find(self, file: Path, place: tuple[int, int, int], split: str, lengths: Sequence[int]) -> Summary | None:
        """The summary of a captured trajectory; None if there is none, or several fit."""
        found = [
            summary
            for summary in self._found.get((_run(file), *place), ())
            if split in ("", summary.split) and summary.lengths == tuple(lengths)
        ]
        return found[0] if len(found) == 1 else None

    def _add(self, run: Path, record: Record) -> None:
        place = tuple(record.integer(name) for name in ("iteration", "group_idx", "traj_idx"))
        steps = record.records("steps")
        rewards = [step.number("reward") for step in steps]
        if rewards:
            rewards[-1] += record.number("final_reward")
        metrics = record.record("trajectory_metrics", Record({}, record.where))
        summary = Summary(
            record.text("split", ""),
            record.number("total_reward", math.nan),
            tuple(step.integer("ac_len") for step in steps),
            tuple(rewards),
            scalars(metrics, ()),
        )
        self._found.setdefault((run, *place), []).append(summary)  # type: ignore[arg-type]


def matches(fields: dict[str, Any]) -> bool:
    return {"iteration", "group_idx", "traj_idx", "steps", "total_reward"} <= set(fields)


def _run(file: Path) -> Path:
    """The folder of the run to which a file of captured calls belongs."""
    return file.parent.parent if file.parent.name == CAPTURE else file.parent


def of_run(file: Path) -> Iterator[Path]:
    """The summaries in the folder of the run to which a file belongs and in those of its iterations, without links."""
    run = _run(file)
    for pattern in (f"*{SUFFIX}", f"*/*{SUFFIX}"):
        for found in sorted(run.glob(pattern)):
            with suppress(OSError):
                if stat.S_ISREG(found.lstat().st_mode) and not found.parent.is_symlink():
                    yield found
