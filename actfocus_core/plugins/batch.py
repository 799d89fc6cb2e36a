"""Operations on another trainer's batch that all plug-ins share: from rows of ids to trajectories and token weights."""

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
from actfocus_core.interop.converter import Converter
from actfocus_core.interop.samples import Sample, Tokens
from actfocus_core.signals import signal_values
from actfocus_core.trajectory import TokenKind, Trajectory

DEFAULTS: dict[str, Any] = {"alpha": 0.1, "beta": 0.5, "signal": "energy", "format_weight": None}


def complete_parameters(params: dict[str, Any], signals: Collection[str], where: str) -> dict[str, Any]:
    """``params`` completed with the defaults of the scheme.

    Raises ActFocusError, whose message begins with ``where``, for an unknown parameter or signal, and for a value out of
    range.
    """
    unknown = set(params) - set(DEFAULTS)
    if unknown:
        raise ActFocusError(f"{where}: unknown parameter {min(unknown)!r}; choose from {', '.join(DEFAULTS)}")
    p = {**DEFAULTS, **params}
    check_parameters(p["alpha"], p["beta"], p["format_weight"])
    if p["signal"] not in signals:
        raise ActFocusError(f"{where}: unknown signal {p['signal']!r}; choose one of {', '.join(signals)}")
    return p


def read_rows(
    prompts: list[list[int]],
    responses: list[list[int]],
    sampled: list[list[int]],
    converter: Converter,
    rewards: list[float],
    groups: list[str],
    step: int,
) -> list[Trajectory]:
    """One trajectory per row; token kinds are found from the ids.

    ``prompts`` and ``responses``: token ids. ``sampled``: for each response token, 1 if the policy sampled it, else 0.
    """
    samples = []
    for i, (prompt, response, mask) in enumerate(zip(prompts, responses, sampled)):
        ids = np.array([*prompt, *response], np.int32)
        blank = np.full(len(ids), np.nan, np.float32)
        is_sampled = np.append(np.zeros(len(prompt), bool), np.asarray(mask, bool))
        samples.append(
            Sample(f"row {i}", Tokens(ids, is_sampled, blank, {"entropy": blank}), groups[i], step, reward=rewards[i])
        )
    return converter.trajectories(samples)


def weigh(
    trajectories: list[Trajectory],
    p: dict[str, Any],
    trained: list[np.ndarray] | None = None,
    pool: Callable[[SignalStats], SignalStats] | None = None,
) -> list[np.ndarray]:
    """The weight w of every token, float32 [T] per trajectory, with mu and sigma over all of them (method.md section 3).

    ``p``: the parameters of ``complete_parameters``. ``trained``: bool [T] per trajectory, the tokens in the trainer's
    loss, if some sampled tokens are not. ``pool``: combines this process's mu and sigma with those of the other processes.
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
