"""Outcomes of rollouts. Success and reward may be unknown; unknown values are counted separately and never as failures.

Statistics count each rollout once, regardless of its number of segments, and exclude agents that are not trained.
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
    """A mean over the known values."""

    mean: float
    """NaN if none is known"""
    known: int
    """number of known values"""
    unknown: int
    """number of unknown values"""

    def __str__(self) -> str:
        """``0.500``, ``0.500 (2 unknown)`` or ``unknown``."""
        if not self.known:
            return "unknown"
        return f"{self.mean:.3f}" + (f" ({self.unknown} unknown)" if self.unknown else "")

    @property
    def value(self) -> float | None:
        """The mean for JSON: None if no value is known."""
        return self.mean if self.known else None


def numbers(values: Iterable[bool | float | None]) -> npt.NDArray[np.float64]:
    """The values as float64 [n], with NaN for None."""
    return np.array([np.nan if value is None else value for value in values], np.float64)


def mean_known(values: Iterable[bool | float | None]) -> Known:
    """The mean over the values that are not None, NaN or infinite."""
    array = numbers(values)
    known = array[np.isfinite(array)]
    return Known(float(known.mean()) if len(known) else float("nan"), len(known), len(array) - len(known))


def rollouts_of(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """The last trajectory of every rollout, in the given order, without agents that are not trained."""
    last = {(t.step, t.group, t.rollout_key): i for i, t in enumerate(trajectories) if t.trainable}
    chosen = set(last.values())
    return [t for i, t in enumerate(trajectories) if i in chosen]


def success_rate(trajectories: Sequence[Trajectory]) -> Known:
    """The fraction of successful rollouts among those with known success."""
    return mean_known(t.success for t in rollouts_of(trajectories))


def rollout_rows(index: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``Run.index`` for the trajectories that ``rollouts_of`` returns."""
    trained = index[index["trainable"]]
    key = trained["rollout_id"].where(trained["rollout_id"] != "", trained["id"])
    return trained[~trained.assign(key=key).duplicated(["step", "group", "key"], keep="last")]


def success_word(success: bool | None) -> str:
    """``success``, ``failure`` or ``success unknown``."""
    return "success unknown" if success is None else "success" if success else "failure"
