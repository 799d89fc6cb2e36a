"""Confidence intervals, tests, the bootstrap and rank statistics, each written once.

Intervals are two-sided with 95 % confidence. Statistics that are bootstrapped are computed on many
resamples at once. A resample is a row of multiplicities: how often each item was drawn. They take
``counts`` [B, n] and give [B]; the plain statistic is the one under ``once``. NaN where a statistic
is undefined: it is for the caller to say so.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

TAILS = (0.025, 0.975)
"""The probability below the lower and below the upper end of a 95 % interval."""


class Interval(NamedTuple):
    """A statistic and its 95 % interval, in the units of the statistic."""

    value: float
    low: float
    high: float


# --- confidence intervals of means ------------------------------------------------------------


def mean_interval(values: np.ndarray) -> Interval:
    """Mean of a sample [n], n >= 1, and its interval by Student's t with n - 1 degrees of freedom.

    Exact for independent values of a normal distribution, approximate for others: too short on the
    side of the long tail where they are few and skewed. Bounds are NaN for one value. Without spread
    they have no width, which says no more than that n values agreed. Source: Student 1908.
    """
    from scipy.special import stdtrit

    n, mean = len(values), float(values.mean())
    if n < 2:
        return Interval(mean, math.nan, math.nan)
    half = float(stdtrit(n - 1, TAILS[1]) * values.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half)


def wilson_interval(share: float, n: int) -> Interval:
    """A proportion of n trials, between 0 and 1, and its Wilson score interval without continuity correction.

    ``share`` need not be a multiple of 1 / n. Never of zero width. Coverage is 0.95 on average over
    the probabilities, not at each: 0.87 with 4 trials of probability 0.5. Source: Wilson 1927, in
    the form of Newcombe 1998.
    """
    from scipy.special import ndtri

    z = float(ndtri(TAILS[1]))
    scale = 2 * (n + z**2)
    centre = (2 * n * share + z**2) / scale
    half = z / scale * math.sqrt(4 * n * share * (1 - share) + z**2)
    return Interval(share, 0.0 if share == 0 else centre - half, 1.0 if share == 1 else centre + half)


def success_interval(rates: np.ndarray) -> Interval:
    """Mean of success rates [n] in [0, 1], n >= 1, each of one cluster (a prompt), and its interval.

    Rollouts of one prompt are not independent, so the sample is the n prompts: ``mean_interval`` of their
    rates, cut to [0, 1]. Where all rates are equal, Student's t has no width; there it is
    ``wilson_interval`` of n trials, as if each prompt were a single one. It estimates the mean over all
    prompts, of which these are a random sample. Bounds are NaN for one prompt.

    Approximate, since rates are no normal sample: coverage is 0.94 to 1.00 with 8 and with 32 prompts of 4
    rollouts, but 0.89 to 0.91 with 32 where success is rare or nearly certain and differs much between
    prompts, and 0.87 with 4 prompts of one rollout at a rate near a half (simulated in tests/core/test_stats.py).
    """
    mean, low, high = mean_interval(rates)
    if len(rates) > 1 and np.ptp(rates) == 0:
        _, low, high = wilson_interval(float(rates[0]), len(rates))
    return Interval(mean, *_cut(low, high, 0.0, 1.0))


def gain_interval(gains: np.ndarray) -> Interval:
    """Mean change of a success rate over n >= 1 prompts, gains [n] in [-1, 1], and its interval (paired).

    ``mean_interval``, cut to [-1, 1]. Where all gains are equal, Student's t has no width; there the
    share of prompts with another gain is bounded instead: none of n was seen, so it is at most the upper
    end of ``wilson_interval(0, n)``, and each of these may have any gain in [-1, 1]. Approximate as
    ``success_interval`` is; the second case is conservative. NaN bounds for one prompt.
    """
    mean, low, high = mean_interval(gains)
    if len(gains) > 1 and np.ptp(gains) == 0:
        others, gain = wilson_interval(0.0, len(gains)).high, float(gains[0])
        low, high = gain - others * (gain + 1), gain + others * (1 - gain)
    return Interval(mean, *_cut(low, high, -1.0, 1.0))


def _cut(low: float, high: float, least: float, most: float) -> tuple[float, float]:
    """Bounds within the values that the mean can have; NaN stays."""
    return max(low, least), min(high, most)


# --- the bootstrap ----------------------------------------------------------------------------


def once(n: int) -> np.ndarray:
    """The sample itself as a resample, each of n items drawn once: float64 [1, n]."""
    return np.ones((1, n))


def resamples(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Multiplicities of ``size`` items drawn ``size`` times with replacement: float64 [count, size]."""
    return rng.multinomial(size, np.full(size, 1 / size), count).astype(np.float64) if size else np.ones((count, 0))


def stratified_resamples(stratum: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Multiplicities of items drawn with replacement within their own stratum: float64 [count, n].

    ``stratum``: int [n], numbers from 0. Strata are drawn in the order of their numbers.
    """
    counts = np.ones((count, len(stratum)))
    for s in range(stratum.max(initial=-1) + 1):
        members = np.flatnonzero(stratum == s)
        counts[:, members] = resamples(count, len(members), rng)
    return counts


def percentile_interval(value: float, drawn: np.ndarray) -> Interval:
    """A statistic and its percentile bootstrap interval; ``drawn`` [B]: the statistic in each resample.

    Resamples in which it is undefined are left out; bounds are NaN where it is undefined in all, or in
    the sample. With few items it is too short. Source: Efron 1979.
    """
    drawn = drawn[np.isfinite(drawn)]
    low, high = percentile_band(drawn) if drawn.size and np.isfinite(value) else (np.nan, np.nan)
    return Interval(float(value), float(low), float(high))


def percentile_band(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends of the percentile interval at each place, NaN left out: [B, places] -> [places] twice."""
    low, high = np.nanquantile(drawn, TAILS, axis=0)
    return low, high


def line_values(x: np.ndarray, y: np.ndarray, counts: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Values at ``at`` [places] of the least-squares line of y on x, each [n], in every resample: [B, places].

    NaN where x does not vary in the resample.
    """
    total = counts.sum(1, keepdims=True)
    mx, my = ((counts @ v)[:, None] / total for v in (x, y))
    dx, dy = x - mx, y - my
    spread = (counts * dx**2).sum(1)
    slope = np.divide(
        (counts * dx * dy).sum(1),
        spread,
        out=np.full(len(counts), np.nan),
        where=spread > 1e-12 * (1 + (mx[:, 0]) ** 2),
    )
    lines: np.ndarray = my + slope[:, None] * (at - mx)
    return lines


# --- rank statistics --------------------------------------------------------------------------


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
    counts = once(len(x)) if counts is None else counts
    return correlation(midranks(np.asarray(x), counts), midranks(np.asarray(y), counts), counts)


def kendall(x: np.ndarray, y: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Kendall's tau-b of x and y, each [n], in every resample: [B]; without ``counts`` [1]. NaN where
    either does not vary. Looks at all pairs: time in B n^2, memory in n."""
    x, y = np.asarray(x), np.asarray(y)
    counts = once(len(x)) if counts is None else counts
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
    counts = once(len(x)) if counts is None else counts
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


def spearman_p(rho: float, n: int) -> float:
    """Two-sided p value of Spearman's rho of n items under independence, by Student's t with n - 2 degrees of
    freedom (approximate, as scipy's spearmanr); NaN below 3 items."""
    from scipy.special import stdtr

    if n < 3 or not np.isfinite(rho):
        return float("nan")
    return float(2 * stdtr(n - 2, -abs(rho) * np.sqrt((n - 2) / max(1 - rho**2, 1e-300))))
