"""How rollouts ended, where success and reward may be unknown: unknown is counted apart, never as a failure.

Statistics count each rollout once, whatever its number of segments, and leave out agents that are not trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from actfocus_core.trajectory import Trajectory

if TYPE_CHECKING:
    import pandas as pd


class Known(NamedTuple):
    """A mean over the values that are known."""

    mean: float
    """NaN where none is known"""
    known: int
    unknown: int

    def __str__(self) -> str:
        """``0.500``, ``0.500 (2 unknown)`` or ``unknown``."""
        if not self.known:
            return "unknown"
        return f"{self.mean:.3f}" + (f" ({self.unknown} unknown)" if self.unknown else "")

    @property
    def value(self) -> float | None:
        """The mean, None where none is known: what JSON holds."""
        return self.mean if self.known else None


def numbers(values: Iterable[bool | float | None]) -> npt.NDArray[np.float64]:
    """float64 [n]: the values, NaN for None."""
    return np.array([np.nan if value is None else value for value in values], np.float64)


def mean_known(values: Iterable[bool | float | None]) -> Known:
    """The mean over those that are not None, NaN or infinite."""
    given = numbers(values)
    known = given[np.isfinite(given)]
    return Known(float(known.mean()) if len(known) else float("nan"), len(known), len(given) - len(known))


def rollouts_of(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """One trajectory of every rollout, its last, in the order of these; those of agents that are not trained are left out."""
    last = {(t.step, t.group, t.rollout_key): i for i, t in enumerate(trajectories) if t.trainable}
    chosen = set(last.values())
    return [t for i, t in enumerate(trajectories) if i in chosen]


def success_rate(trajectories: Sequence[Trajectory]) -> Known:
    """The share of the rollouts that succeeded, of those of which it is known."""
    return mean_known(t.success for t in rollouts_of(trajectories))


def rollout_rows(index: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``Run.index`` that ``rollouts_of`` would keep."""
    trained = index[index["trainable"]]
    key = trained["rollout_id"].where(trained["rollout_id"] != "", trained["id"])
    return trained[~trained.assign(key=key).duplicated(["step", "group", "key"], keep="last")]


def success_word(success: bool | None) -> str:
    """``success``, ``failure`` or ``success unknown``."""
    return "success unknown" if success is None else "success" if success else "failure"
