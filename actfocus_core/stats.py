"""Confidence intervals, tests, the bootstrap and rank statistics.

Intervals are two-sided with 95 % confidence. Bootstrapped statistics are computed for many resamples at once: a resample is a
row of counts, the number of times each item was drawn. They take ``counts`` [B, n] and return [B]; ``unit_counts`` gives the
statistic of the sample itself. An undefined statistic is NaN, which the caller has to report.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

TAILS = (0.025, 0.975)
"""Quantiles of the lower and upper bounds of a 95 % interval."""


class Interval(NamedTuple):
    """A statistic and its 95 % interval, in the units of the statistic."""

    value: float
    low: float
    high: float


# --- confidence intervals of means ------------------------------------------------------------


def mean_interval(values: np.ndarray) -> Interval:
    """Mean of a sample [n], n >= 1, with an interval from Student's t distribution with n - 1 degrees of freedom.

    Exact for independent normal values and approximate otherwise: for small skewed samples it is too short on the side of the
    long tail. The bounds are NaN for one value. If all values are equal the interval has zero width, which is not evidence of
    zero variance. Source: Student 1908.
    """
    from scipy.special import stdtrit

    n, mean = len(values), float(values.mean())
    if n < 2:
        return Interval(mean, math.nan, math.nan)
    half = float(stdtrit(n - 1, TAILS[1]) * values.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half)


def wilson_interval(share: float, n: int) -> Interval:
    """A proportion of n trials with its Wilson score interval, without continuity correction.

    ``share``: the proportion, in [0, 1], not necessarily a multiple of 1 / n. The width is never zero. Coverage is 0.95 on
    average over the probabilities, not for each: 0.87 for 4 trials with probability 0.5. Source: Wilson 1927, in the form of
    Newcombe 1998.
    """
    from scipy.special import ndtri

    z = float(ndtri(TAILS[1]))
    scale = 2 * (n + z**2)
    centre = (2 * n * share + z**2) / scale
    half = z / scale * math.sqrt(4 * n * share * (1 - share) + z**2)
    return Interval(share, 0.0 if share == 0 else centre - half, 1.0 if share == 1 else centre + half)


def success_interval(rates: np.ndarray) -> Interval:
    """Mean of the success rates [n] of n >= 1 clusters (prompts), in [0, 1], with its interval.

    Rollouts of one prompt are not independent, so the prompts are the sample: ``mean_interval`` of their rates, clipped to
    [0, 1]. If all rates are equal, where Student's t has zero width, it is ``wilson_interval`` of n trials, one per prompt.
    The estimand is the mean over the population of prompts from which these were drawn. The bounds are NaN for one prompt.

    Approximate, since rates are not normal: coverage is 0.94 to 1.00 for 8 and for 32 prompts with 4 rollouts each, 0.89 to
    0.91 for 32 prompts where success is rare or nearly certain and varies strongly between prompts, and 0.87 for 4 prompts
    with one rollout at a rate near one half (simulated in tests/core/test_stats.py).
    """
    mean, low, high = mean_interval(rates)
    if len(rates) > 1 and np.ptp(rates) == 0:
        _, low, high = wilson_interval(float(rates[0]), len(rates))
    return Interval(mean, *_clipped(low, high, 0.0, 1.0))


def gain_interval(gains: np.ndarray) -> Interval:
    """Mean paired change of the success rate over n >= 1 prompts, gains [n] in [-1, 1], with its interval.

    ``mean_interval``, clipped to [-1, 1]. If all gains are equal, where Student's t has zero width, the fraction of prompts
    with a different gain is bounded instead: none of n was observed, so it is at most the upper bound of
    ``wilson_interval(0, n)``, and the gain of these prompts can be anything in [-1, 1]. Approximate, as ``success_interval``
    is; the second case is conservative. The bounds are NaN for one prompt.
    """
    mean, low, high = mean_interval(gains)
    if len(gains) > 1 and np.ptp(gains) == 0:
        different, gain = wilson_interval(0.0, len(gains)).high, float(gains[0])
        low, high = gain - different * (gain + 1), gain + different * (1 - gain)
    return Interval(mean, *_clipped(low, high, -1.0, 1.0))


def _clipped(low: float, high: float, least: float, most: float) -> tuple[float, float]:
    """Bounds clipped to the possible values of the mean; NaN is kept."""
    return max(low, least), min(high, most)


# --- the bootstrap ----------------------------------------------------------------------------


def unit_counts(n: int) -> np.ndarray:
    """The counts of the sample itself, each of n items drawn once: float64 [1, n]."""
    return np.ones((1, n))


def resamples(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Counts of ``size`` items drawn ``size`` times with replacement, float64 [count, size]; one row per resample."""
    return rng.multinomial(size, np.full(size, 1 / size), count).astype(np.float64) if size else np.ones((count, 0))


def stratified_resamples(stratum: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Counts of n items drawn with replacement within their strata, float64 [count, n].

    ``stratum``: int [n], from 0. The strata are drawn in ascending order.
    """
    counts = np.ones((count, len(stratum)))
    for s in range(stratum.max(initial=-1) + 1):
        members = np.flatnonzero(stratum == s)
        counts[:, members] = resamples(count, len(members), rng)
    return counts


def percentile_interval(value: float, drawn: np.ndarray) -> Interval:
    """A statistic with its percentile bootstrap interval; ``drawn`` [B]: the statistic of each resample.

    Resamples with an undefined statistic are ignored; the bounds are NaN if it is undefined in all of them, or in the sample.
    The interval is too short for small samples. Source: Efron 1979.
    """
    drawn = drawn[np.isfinite(drawn)]
    low, high = percentile_band(drawn) if drawn.size and np.isfinite(value) else (np.nan, np.nan)
    return Interval(float(value), float(low), float(high))


def percentile_band(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the percentile interval at each place, ignoring NaN: [B, places] -> two arrays [places]."""
    low, high = np.nanquantile(drawn, TAILS, axis=0)
    return low, high


def line_values(x: np.ndarray, y: np.ndarray, counts: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Least-squares line of y on x, each [n], evaluated at ``at`` [places] for every resample: [B, places].

    NaN if x is constant in the resample.
    """
    total = counts.sum(1, keepdims=True)
    mx, my = ((counts @ v)[:, None] / total for v in (x, y))
    dx, dy = x - mx, y - my
    squares = (counts * dx**2).sum(1)
    slope = np.divide(
        (counts * dx * dy).sum(1),
        squares,
        out=np.full(len(counts), np.nan),
        where=squares > 1e-12 * (1 + (mx[:, 0]) ** 2),
    )
    lines: np.ndarray = my + slope[:, None] * (at - mx)
    return lines


# --- rank statistics --------------------------------------------------------------------------


def rounded(values: np.ndarray) -> np.ndarray:
    """Round to a millionth of the largest absolute value, so that values that differ by float32 rounding are tied."""
    largest = np.abs(values).max(initial=0.0)
    return np.round(values / largest, 6) * largest if largest > 0 else values


def midranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Rank of every item in every resample, [B, n]; tied values get the mean of their ranks."""
    order = np.argsort(values, kind="stable")
    new = np.ones(len(values), bool)
    new[1:] = np.diff(values[order]) != 0
    ties = np.add.reduceat(counts[:, order], np.flatnonzero(new), axis=1) if len(values) else counts
    middle = np.cumsum(ties, axis=1) - ties / 2 + 0.5
    ranks = np.empty_like(counts)
    ranks[:, order] = middle[:, np.cumsum(new) - 1]
    return ranks


def correlation(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Pearson's r of x and y, each [B, n], per resample: [B]. NaN if either is constant."""
    total = np.maximum(counts.sum(1, keepdims=True), 1)
    dx, dy = (v - (counts * v).sum(1, keepdims=True) / total for v in (x, y))
    xx, yy, xy = ((counts * a * b).sum(1) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    scale = np.sqrt(xx * yy)
    varies = (xx > 1e-9) & (yy > 1e-9)
    r: np.ndarray = np.divide(xy, scale, out=np.full(len(xy), np.nan), where=varies)
    return r


def spearman(x: np.ndarray, y: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Spearman's rho of x and y, each [n], per resample: [B]; [1] without ``counts``."""
    counts = unit_counts(len(x)) if counts is None else counts
    return correlation(midranks(np.asarray(x), counts), midranks(np.asarray(y), counts), counts)


def kendall(x: np.ndarray, y: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Kendall's tau-b of x and y, each [n], per resample: [B]; [1] without ``counts``. NaN if either is constant.

    Compares all pairs, in time proportional to B n^2 and memory proportional to n.
    """
    x, y = np.asarray(x), np.asarray(y)
    counts = unit_counts(len(x)) if counts is None else counts
    concordance = np.zeros(len(counts))
    # Counts and their sums are integers below 2^24, which float32 represents exactly.
    counts32 = counts.astype(np.float32)
    for start in range(0, len(x), 256):
        rows = slice(start, start + 256)
        signs = (np.sign(x[rows, None] - x) * np.sign(y[rows, None] - y)).astype(np.float32)
        concordance += ((counts32 @ signs.T).astype(np.float64) * counts[:, rows]).sum(1)
    untied = [counts.sum(1) ** 2 - _tied(v, counts) for v in (x, y)]
    scale = np.sqrt(untied[0] * untied[1])
    tau: np.ndarray = np.divide(concordance, scale, out=np.full(len(counts), np.nan), where=scale > 0)
    return tau


def _tied(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Number of ordered pairs with equal values, [B]: the sum of the squared counts of the distinct values."""
    _, which = np.unique(values, return_inverse=True)
    drawn = np.zeros((len(counts), which.max(initial=-1) + 1))
    np.add.at(drawn.T, which, counts.T)
    squares: np.ndarray = (drawn**2).sum(1)
    return squares


def partial_spearman(
    x: np.ndarray, y: np.ndarray, given: list[np.ndarray], counts: np.ndarray | None = None
) -> np.ndarray:
    """Partial rank correlation of x and y, each [n], given the ranks of other variables, per resample: [B].

    The ranks of x and y are regressed on those of ``given``. NaN if the residual of x or of y is 0.
    """
    counts = unit_counts(len(x)) if counts is None else counts
    ranks = [midranks(np.asarray(v), counts) for v in (x, y, *given)]
    root = np.sqrt(counts)
    basis = _basis(np.stack([np.ones_like(root), *ranks[2:]], axis=-1) * root[..., None])
    residuals, defined = [], np.ones(len(counts), bool)
    for r in ranks[:2]:
        target = r * root
        residual = target - (basis @ (basis.swapaxes(1, 2) @ target[..., None]))[..., 0]
        mean = (counts * r).sum(1, keepdims=True) / np.maximum(counts.sum(1, keepdims=True), 1)
        squares = (counts * (r - mean) ** 2).sum(1)
        defined &= (squares > 1e-9) & ((residual**2).sum(1) > 1e-6 * squares)
        residuals.append(residual)
    u, v = residuals
    xy, xx, yy = ((a * b).sum(1) for a, b in ((u, v), (u, u), (v, v)))
    rho: np.ndarray = np.divide(xy, np.sqrt(xx * yy), out=np.full(len(counts), np.nan), where=defined)
    return rho


def _basis(design: np.ndarray) -> np.ndarray:
    """An orthonormal basis [B, n, k] of the column space of ``design``; columns beyond its rank are 0."""
    u, s, _ = np.linalg.svd(design, full_matrices=False)
    # Ranks are multiples of one half, so linear dependence is exact up to rounding.
    return u * (s > 1e-9 * s[:, :1])[:, None, :]


def auroc(ranks: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, [B]: the probability that a positive item scores above a negative one; ties count one half.

    ``ranks``: ``midranks`` of the score; ``positive``: bool [n]. NaN without positive or without negative items.
    """
    up = counts[:, positive].sum(1)
    down = counts.sum(1) - up
    # The ranks of the positives among themselves sum to up (up + 1) / 2.
    above = (counts[:, positive] * ranks[:, positive]).sum(1) - up * (up + 1) / 2
    area: np.ndarray = np.divide(above, up * down, out=np.full(len(up), np.nan), where=(up > 0) & (down > 0))
    return area


def spearman_p(rho: float, n: int) -> float:
    """Two-sided p value of Spearman's rho for n items under independence; NaN for fewer than 3.

    Approximate, by Student's t with n - 2 degrees of freedom, as in ``scipy.stats.spearmanr``.
    """
    from scipy.special import stdtr

    if n < 3 or not np.isfinite(rho):
        return float("nan")
    return float(2 * stdtr(n - 2, -abs(rho) * np.sqrt((n - 2) / max(1 - rho**2, 1e-300))))
