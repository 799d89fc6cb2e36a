"""What every plug-in does with another trainer's batch: rows of ids become trajectories, and their tokens get weights."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from actfocus_core.credit.weights import (
    SignalStats,
    check_parameters,
    signal_stats,
    token_weights,
)
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.layout import Layout
from actfocus_core.interop.samples import Sample, Tokens
from actfocus_core.signals import signal_values
from actfocus_core.trajectory import TokenKind, Trajectory

DEFAULTS: dict[str, Any] = {"alpha": 0.1, "beta": 0.5, "signal": "energy", "format_weight": None}


def complete(given: dict[str, Any], signals: Collection[str], where: str) -> dict[str, Any]:
    """All parameters of the scheme. Raises ActFocusError, beginning with ``where``, for one that is unknown or out of range."""
    unknown = set(given) - set(DEFAULTS)
    if unknown:
        raise ActFocusError(f"{where}: unknown parameter {min(unknown)!r}; there are {', '.join(DEFAULTS)}")
    p = {**DEFAULTS, **given}
    check_parameters(p["alpha"], p["beta"], p["format_weight"])
    if p["signal"] not in signals:
        raise ActFocusError(f"{where}: unknown signal {p['signal']!r}; there are {', '.join(signals)}")
    return p


def read_rows(
    prompts: list[list[int]],
    responses: list[list[int]],
    sampled: list[list[int]],
    layout: Layout,
    rewards: list[float],
    groups: list[str],
    step: int,
) -> list[Trajectory]:
    """One trajectory a row; ``sampled`` [response] is 1 where the policy wrote. Kinds are found on the ids."""
    samples = []
    for i, (prompt, response, mask) in enumerate(zip(prompts, responses, sampled)):
        ids = np.array([*prompt, *response], np.int32)
        blank = np.full(len(ids), np.nan, np.float32)
        written = np.append(np.zeros(len(prompt), bool), np.asarray(mask, bool))
        samples.append(
            Sample(f"row {i}", Tokens(ids, written, blank, {"entropy": blank}), groups[i], step, reward=rewards[i])
        )
    return layout.trajectories(samples)


def weigh(
    trajectories: list[Trajectory],
    p: dict[str, Any],
    trained: list[np.ndarray] | None = None,
    pool: Callable[[SignalStats], SignalStats] | None = None,
) -> list[np.ndarray]:
    """float32 [T] a trajectory: w of every token, with mu and sigma over all of them (method.md section 3).

    ``trained``: bool [T] a trajectory, the tokens that are in the trainer's loss, where some sampled ones are not. ``pool``
    makes the batch's mu and sigma of those of the trajectories here, where others lie in other processes.
    """
    kinds = np.concatenate([t.kinds for t in trajectories])
    if trained is not None:
        kinds = np.where(np.concatenate(trained), kinds, TokenKind.TEMPLATE)
    signal = stats = None
    if p["beta"]:
        signal = np.concatenate([signal_values(t, p["signal"]) for t in trajectories])
        stats = pool(signal_stats(kinds, signal)) if pool else None
    weights = token_weights(kinds, signal, p["alpha"], p["beta"], p["format_weight"], stats)
    return np.split(weights, np.cumsum([len(t) for t in trajectories])[:-1])
