"""The token weights of ActFocus (method.md section 3), for arrays of any shape."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from actfocus_core.errors import ActFocusError
from actfocus_core.trajectory import TokenKind, response_mask

EPSILON = 1e-8
"""Added to the variance: a constant signal gives z = 0 and not NaN."""


class SignalStats(NamedTuple):
    """Mean and standard deviation of a signal over the action tokens of a batch, and their number."""

    mean: float
    std: float
    count: int  # type: ignore[assignment]  # the field hides the method of that name


def signal_stats(kinds: np.ndarray, signal: np.ndarray) -> SignalStats:
    """Mean and population standard deviation over all action tokens (method.md section 3).

    ``kinds`` and ``signal`` have the same shape and cover the whole batch. Returns (0, 1, 0) without action tokens. Raises
    ActFocusError if the signal of an action token is not finite.
    """
    values = np.asarray(signal, np.float64)[np.asarray(kinds) == TokenKind.ACTION]
    unscored = int((~np.isfinite(values)).sum())
    if unscored:
        raise ActFocusError(
            f"{unscored} of {values.size} action tokens have no signal; score the "
            "trajectories with a reference model first (`actfocus score`)"
        )
    if not values.size:
        return SignalStats(0.0, 1.0, 0)
    return SignalStats(float(values.mean()), float(np.sqrt(values.var() + EPSILON)), values.size)


def pooled(parts: Iterable[SignalStats]) -> SignalStats:
    """The ``signal_stats`` of a batch from those of its parts; order and sizes of the parts do not matter."""
    parts = [p for p in parts if p.count]
    count = sum(p.count for p in parts)
    if not count:
        return SignalStats(0.0, 1.0, 0)
    mean = sum(p.count * p.mean for p in parts) / count
    # Every variance contains EPSILON once, so their weighted mean does too.
    variance = sum(p.count * (p.std**2 + (p.mean - mean) ** 2) for p in parts) / count
    return SignalStats(mean, math.sqrt(variance), int(count))


def token_weights(
    kinds: np.ndarray,
    signal: np.ndarray | None,
    alpha: float,
    beta: float,
    format_weight: float | None = None,
    stats: SignalStats | None = None,
) -> np.ndarray:
    """w = alpha on reasoning and format tokens, 1 + beta * sigmoid((s - mu) / sigma) on action tokens.

    ``kinds``, ``signal``: the batch, of the same shape; ``signal`` may be None if beta is 0. ``format_weight`` replaces alpha
    on format tokens. ``stats``: mu and sigma of the whole batch, where the arrays are only a part of it. Returns float32 of
    the same shape, 0 for tokens that were not sampled. Raises ActFocusError for alpha outside [0, 1], beta or format_weight
    below 0, or an action token without a signal. Source: paper section 4, as in method.md section 3; ``format_weight`` is
    ours.
    """
    check_parameters(alpha, beta, format_weight)
    kinds = np.asarray(kinds)
    weights = np.where(response_mask(kinds), np.float64(alpha), 0.0)
    if format_weight is not None:
        weights[kinds == TokenKind.FORMAT] = format_weight
    action = kinds == TokenKind.ACTION
    weights[action] = 1.0
    if beta and action.any():
        if signal is None:
            raise ActFocusError(f"beta={beta} needs a signal; pass one, or set beta=0")
        mean, std, _ = stats or signal_stats(kinds, signal)
        values = np.asarray(signal, np.float64)[action]
        weights[action] += beta * sigmoid((values - mean) / std)
    return weights.astype(np.float32)


def check_parameters(alpha: float, beta: float, format_weight: float | None = None) -> None:
    """Raise ActFocusError if a parameter is out of range."""
    if not 0 <= alpha <= 1:
        raise ActFocusError(f"alpha={alpha}: must lie in [0, 1]")
    if not 0 <= beta < np.inf:
        raise ActFocusError(f"beta={beta}: must be a finite number, 0 or above")
    if format_weight is not None and not 0 <= format_weight < np.inf:
        raise ActFocusError(f"format_weight={format_weight}: must be a finite number, 0 or above")


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), float64, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(z, np.float64)))
