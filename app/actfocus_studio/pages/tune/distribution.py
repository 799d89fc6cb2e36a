"""The distribution of each signal over the response tokens of a batch, by token kind."""

from __future__ import annotations

import numpy as np

from actfocus_core.signals import SIGNALS, signal_values
from actfocus_core.trajectory import RESPONSE_KINDS, Trajectory
from actfocus_studio.data import columns
from actfocus_studio.data.columns import Float64Column, Int32Column
from actfocus_studio.data.message import Message

BINS = 60
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TAIL = 0.5
"""Percentage of the response tokens outside the bins at either end."""


class KindDistribution(Message):
    """A signal over the tokens of one kind."""

    n: int
    """Tokens that have the signal."""
    lack: int
    """Tokens that do not."""
    counts: Int32Column
    """[BINS]"""
    mean: float | None
    std: float | None
    """Of the population."""
    quantiles: list[float] | None
    """At QUANTILES."""


class KindDistributions(Message):
    """By kind."""

    reasoning: KindDistribution
    action: KindDistribution
    format: KindDistribution


class Distribution(Message):
    """A signal over the response tokens."""

    edges: Float64Column
    """[BINS + 1]"""
    kinds: KindDistributions


def distributions(trajectories: list[Trajectory]) -> dict[str, Distribution | None]:
    """Signal -> its distribution, None where no response token has the signal."""
    kinds = np.concatenate([t.kinds for t in trajectories])
    return {
        name: _distribution(kinds, np.concatenate([signal_values(t, name) for t in trajectories]).astype(np.float64))
        for name in SIGNALS
    }


def _distribution(kinds: np.ndarray, values: np.ndarray) -> Distribution | None:
    known = np.isfinite(values)
    response = known & np.isin(kinds, RESPONSE_KINDS)
    if not response.any():
        return None
    low, high = np.percentile(values[response], [TAIL, 100 - TAIL])
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    return Distribution(
        edges=columns.float64(edges),
        kinds=KindDistributions(
            **{
                kind.name.lower(): _kind(values[known & (kinds == kind)], int((~known & (kinds == kind)).sum()), edges)
                for kind in RESPONSE_KINDS
            }
        ),
    )


def _kind(values: np.ndarray, lack: int, edges: np.ndarray) -> KindDistribution:
    known = len(values) > 0
    return KindDistribution(
        n=len(values),
        lack=lack,
        counts=columns.int32(np.histogram(values, edges)[0]),
        mean=float(values.mean()) if known else None,
        std=float(values.std()) if known else None,
        quantiles=np.quantile(values, QUANTILES).tolist() if known else None,
    )
