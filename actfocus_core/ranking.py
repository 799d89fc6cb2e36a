"""Rank statistics, computed on many bootstrap resamples at once.

A resample is a row of multiplicities: how often each item was drawn. Every statistic takes
``counts`` [B, n] and gives [B]; the plain statistic is the one under ``ones``. NaN where there is
nothing to rank: it is for the caller to say so.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A statistic and its 95 % percentile bootstrap interval."""

    value: float
    low: float
    high: float


def resamples(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Multiplicities of ``size`` items drawn ``size`` times with replacement: float64 [count, size]."""
    return rng.multinomial(size, np.full(size, 1 / size), count).astype(np.float64) if size else np.ones((count, 0))


def rounded(values: np.ndarray) -> np.ndarray:
    """To a millionth of the largest: what differs by float32 rounding alone is equal, and ties."""
    largest = np.abs(values).max(initial=0.0)
    return np.round(values / largest, 6) * largest if largest > 0 else values


def midranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """[B, n]: rank of every item in every resample; equal values share the mean of their ranks."""
    order = np.argsort(values, kind="stable")
    new = np.ones(len(values), bool)
    new[1:] = np.diff(values[order]) != 0
    ties = np.add.reduceat(counts[:, order], np.flatnonzero(new), axis=1) if len(values) else counts
    middle = np.cumsum(ties, axis=1) - ties / 2 + 0.5
    ranks = np.empty_like(counts)
    ranks[:, order] = middle[:, np.cumsum(new) - 1]
    return ranks


def correlation(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Pearson's r of x and y, each [B, n]: [B]. NaN where either does not vary."""
    total = np.maximum(counts.sum(1, keepdims=True), 1)
    dx, dy = (v - (counts * v).sum(1, keepdims=True) / total for v in (x, y))
    xx, yy, xy = ((counts * a * b).sum(1) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    scale = np.sqrt(xx * yy)
    varies = (xx > 1e-9) & (yy > 1e-9)
    r: np.ndarray = np.divide(xy, scale, out=np.full(len(xy), np.nan), where=varies)
    return r


def spearman(x: np.ndarray, y: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Spearman's rho of x and y, each [n], in every resample: [B]; without ``counts`` [1]."""
    counts = np.ones((1, len(x))) if counts is None else counts
    return correlation(midranks(np.asarray(x), counts), midranks(np.asarray(y), counts), counts)


def kendall(x: np.ndarray, y: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Kendall's tau-b of x and y, each [n], in every resample: [B]; without ``counts`` [1]. NaN where
    either does not vary. Looks at all pairs: time in B n^2, memory in n."""
    x, y = np.asarray(x), np.asarray(y)
    counts = np.ones((1, len(x))) if counts is None else counts
    agreeing = np.zeros(len(counts))
    # Counts are whole numbers below 2^24, and so are their sums here: float32 holds them exactly.
    few = counts.astype(np.float32)
    for start in range(0, len(x), 256):
        rows = slice(start, start + 256)
        signs = (np.sign(x[rows, None] - x) * np.sign(y[rows, None] - y)).astype(np.float32)
        agreeing += ((few @ signs.T).astype(np.float64) * counts[:, rows]).sum(1)
    apart = [counts.sum(1) ** 2 - _tied(v, counts) for v in (x, y)]
    scale = np.sqrt(apart[0] * apart[1])
    tau: np.ndarray = np.divide(agreeing, scale, out=np.full(len(counts), np.nan), where=scale > 0)
    return tau


def _tied(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sum over different values of the square of how often they were drawn: [B]."""
    _, which = np.unique(values, return_inverse=True)
    drawn = np.zeros((len(counts), which.max(initial=-1) + 1))
    np.add.at(drawn.T, which, counts.T)
    squares: np.ndarray = (drawn**2).sum(1)
    return squares


def partial_spearman(
    x: np.ndarray, y: np.ndarray, given: list[np.ndarray], counts: np.ndarray | None = None
) -> np.ndarray:
    """Rank correlation of x and y, each [n], after both were regressed on the ranks of ``given``: [B].

    NaN where nothing of x or y is left.
    """
    counts = np.ones((1, len(x))) if counts is None else counts
    ranks = [midranks(np.asarray(v), counts) for v in (x, y, *given)]
    root = np.sqrt(counts)
    basis = _basis(np.stack([np.ones_like(root), *ranks[2:]], axis=-1) * root[..., None])
    left, some = [], np.ones(len(counts), bool)
    for r in ranks[:2]:
        target = r * root
        rest = target - (basis @ (basis.swapaxes(1, 2) @ target[..., None]))[..., 0]
        mean = (counts * r).sum(1, keepdims=True) / np.maximum(counts.sum(1, keepdims=True), 1)
        spread = (counts * (r - mean) ** 2).sum(1)
        some &= (spread > 1e-9) & ((rest**2).sum(1) > 1e-6 * spread)
        left.append(rest)
    xy, xx, yy = ((a * b).sum(1) for a, b in ((left[0], left[1]), (left[0], left[0]), (left[1], left[1])))
    rho: np.ndarray = np.divide(xy, np.sqrt(xx * yy), out=np.full(len(counts), np.nan), where=some)
    return rho


def _basis(design: np.ndarray) -> np.ndarray:
    """Orthonormal columns [B, n, k] that span those of ``design``; 0 where these depend on one another."""
    u, s, _ = np.linalg.svd(design, full_matrices=False)
    # Ranks are halves of whole numbers: what depends does so to the last bits.
    return u * (s > 1e-9 * s[:, :1])[:, None, :]


def auroc(ranks: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Probability that a positive item scores above another, ties a half: [B].

    ``ranks``: ``midranks`` of the score; ``positive``: bool [n]. NaN without positives or without
    others.
    """
    up = counts[:, positive].sum(1)
    down = counts.sum(1) - up
    # The ranks that positives have among themselves add up to up (up + 1) / 2.
    above = (counts[:, positive] * ranks[:, positive]).sum(1) - up * (up + 1) / 2
    area: np.ndarray = np.divide(above, up * down, out=np.full(len(up), np.nan), where=(up > 0) & (down > 0))
    return area


def p_value(rho: float, n: int) -> float:
    """Two-sided p of Spearman's rho under independence, by the t approximation; NaN below 3 items."""
    from scipy.special import stdtr

    if n < 3 or not np.isfinite(rho):
        return float("nan")
    return float(2 * stdtr(n - 2, -abs(rho) * np.sqrt((n - 2) / max(1 - rho**2, 1e-300))))


def interval(value: float, drawn: np.ndarray) -> Interval:
    """95 % percentile interval; resamples in which the statistic is undefined are left out."""
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn.size and np.isfinite(value) else (np.nan, np.nan)
    return Interval(float(value), float(low), float(high))
