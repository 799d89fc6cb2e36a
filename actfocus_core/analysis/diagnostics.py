"""Gradient shares by token kind, and the correlation between uncertainty and the standard deviation of returns."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.credit.batch import Batch
from actfocus_core.errors import ActFocusError
from actfocus_core.outcomes import numbers
from actfocus_core.stats import (
    Interval,
    line_values,
    partial_spearman,
    percentile_band,
    percentile_interval,
    resamples,
    spearman,
    spearman_p,
    unit_counts,
)
from actfocus_core.trajectory import RESPONSE_KINDS, TokenKind, response_mask

MIN_GROUPS = 8
"""Smallest number of groups for which correlations are computed."""
PARTS = {"all": RESPONSE_KINDS, "reasoning": (TokenKind.REASONING,), "action": (TokenKind.ACTION,)}
BOTTLENECK_SIGNALS = ("energy", "centred_energy", "entropy", "policy_entropy")


def gradient_mass(kinds: np.ndarray, weights: np.ndarray, advantages: np.ndarray | None = None) -> dict[str, Any]:
    """Distribution of the weight over the kinds of response tokens.

    ``kinds``, ``weights``: the tokens of a batch, of the same shape; ``advantages``: of the same shape; the mass of a token is
    then w * |A|. Returns ``kinds``: kind name -> {tokens, token_share, mass, mass_share}; ``tokens`` and ``mass`` in total;
    and ``effective_tokens``: (sum m)^2 / sum m^2, the number of equally weighted tokens with the same concentration. This
    mass is nominal: the coefficient of grad log pi, not the norm of the gradient. Shares are NaN if the total is 0. Raises
    ActFocusError if the shapes differ.
    """
    kinds, mass = np.asarray(kinds), np.asarray(weights, np.float64)
    if kinds.shape != mass.shape or (advantages is not None and np.shape(advantages) != kinds.shape):
        raise ActFocusError(f"kinds {kinds.shape}, weights {mass.shape} and advantages must have one shape")
    if advantages is not None:
        mass = mass * np.abs(np.asarray(advantages, np.float64))
    response = response_mask(kinds)
    tokens, total = int(response.sum()), float(mass[response].sum())
    table = {kind.name.lower(): _share(kinds == kind, mass, tokens, total) for kind in RESPONSE_KINDS}
    squares = float((mass[response] ** 2).sum())
    return {"kinds": table, "tokens": tokens, "mass": total, "effective_tokens": total**2 / squares if squares else 0.0}


def _share(of_kind: np.ndarray, mass: np.ndarray, tokens: int, total: float) -> dict[str, float]:
    count, kind_mass = int(of_kind.sum()), float(mass[of_kind].sum())
    return {
        "tokens": count,
        "token_share": count / tokens if tokens else float("nan"),
        "mass": kind_mass,
        "mass_share": kind_mass / total if total else float("nan"),
    }


def action_bottleneck(batch: Batch, *, bootstrap: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Correlation between the standard deviation of a group's returns and its mean signal (method.md section 5).

    Returns plain values:

    * ``groups``: a row per group: ``group, rollouts, sigma`` (population standard deviation of the returns), ``mean_return,
      success`` (rate), over the rollouts with known values and None if there are none; ``unknown_returns`` and
      ``unknown_success``, the numbers of unknown values; and ``SIGNAL_PART``, the mean signal over the group's tokens of that
      part (all, reasoning, action), None without such tokens. Signals: those of BOTTLENECK_SIGNALS that are recorded;
    * ``correlations``: a row per signal and part: ``signal, part, n`` groups; Spearman's ``rho`` with sigma, its two-sided
      ``p``, and its 95 % bootstrap interval over groups ``low, high``; ``rho_success``, the correlation with the success rate
      p; ``partial``, ``partial_low``, ``partial_high``, the partial correlation with sigma given p; ``partial_spread``, that
      given p and p (1 - p). ``why`` explains numbers that are None;
    * ``confound``: ``rho_success``, the correlation of sigma with p; ``rho_spread``, that with p (1 - p); ``binary``, whether
      returns take at most two values. Sigma is then a function of p: the second partial correlation is undefined, and the
      first removes only the monotone part of the dependence. Correlations that involve p are None if it is unknown in a group;
    * ``missing``: signals that are not recorded.

    Source: paper, the Action Bottleneck; the control for the success rate is ours.
    """
    groups = _group_rows(batch)
    sigma, p = (numbers(g[name] for g in groups) for name in ("sigma", "success"))
    known = np.isfinite(sigma) & np.isfinite(p)
    enough = known.sum() >= MIN_GROUPS
    returns = batch.returns[batch.counted]
    draws = np.random.default_rng(seed)
    present = [s for s in BOTTLENECK_SIGNALS if batch.has(s)]
    rows = [
        _bottleneck_row(
            signal, part, np.array([g[f"{signal}_{part}"] for g in groups], float), sigma, p, bootstrap, draws
        )
        for signal in present
        for part in PARTS
    ]
    return {
        "groups": groups,
        "correlations": rows,
        "confound": {
            "rho_success": _number(spearman(sigma[known], p[known])[0]) if enough else None,
            "rho_spread": _number(spearman(sigma[known], (p * (1 - p))[known])[0]) if enough else None,
            "binary": 0 < len(np.unique(returns[np.isfinite(returns)].round(9))) <= 2,
        },
        "missing": [s for s in BOTTLENECK_SIGNALS if s not in present],
    }


def trend_band(
    x: np.ndarray, y: np.ndarray, *, bootstrap: int = 1000, seed: int = 0, points: int = 25
) -> dict[str, list[float]] | None:
    """Least-squares line of y on x, each [n], with its pointwise 95 % bootstrap band, as a visual guide.

    Returns ``x, y, low, high``, lists of length ``points``; None for n < MIN_GROUPS, or if x is constant. Resamples in which x
    is constant are ignored. Ours.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(x) < MIN_GROUPS or not np.ptp(x) > 1e-9 * np.abs(x).max():
        return None
    at = np.linspace(x.min(), x.max(), points)
    line = line_values(x, y, unit_counts(len(x)), at)[0]
    low, high = percentile_band(line_values(x, y, resamples(bootstrap, len(x), np.random.default_rng(seed)), at))
    return {name: values.tolist() for name, values in (("x", at), ("y", line), ("low", low), ("high", high))}


def _group_rows(batch: Batch) -> list[dict[str, Any]]:
    rows = []
    names = list(dict.fromkeys(batch.groups))
    means = {
        (signal, part): _group_means(batch, signal, kinds)
        for signal in BOTTLENECK_SIGNALS
        if batch.has(signal)
        for part, kinds in PARTS.items()
    }
    for g, name in enumerate(names):
        members = (batch.group_of == g) & batch.counted
        if not members.any():
            continue  # an agent that is not trained
        returns, success = batch.returns[members], batch.success[members]
        known, known_success = returns[np.isfinite(returns)], success[np.isfinite(success)]
        # Equal returns have a standard deviation of exactly 0, without rounding errors.
        rows.append(
            {
                "group": name,
                "rollouts": len(returns),
                "sigma": (float(known.std()) if np.ptp(known) else 0.0) if len(known) else None,
                "mean_return": float(known.mean()) if len(known) else None,
                "success": float(known_success.mean()) if len(known_success) else None,
                "unknown_returns": len(returns) - len(known),
                "unknown_success": len(success) - len(known_success),
                **{f"{signal}_{part}": _number(values[g]) for (signal, part), values in means.items()},
            }
        )
    return rows


def _group_means(batch: Batch, signal: str, kinds: tuple[TokenKind, ...]) -> np.ndarray:
    """Mean of a signal over each group's tokens of some kinds, float64 [groups]; NaN without such tokens."""
    chosen, groups = np.isin(batch.kinds, kinds), int(batch.group_of.max()) + 1
    group = batch.group_of[batch.index[chosen]]
    count = np.bincount(group, minlength=groups)
    total = np.bincount(group, batch.signals[signal][chosen].astype(np.float64), minlength=groups)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _bottleneck_row(
    signal: str, part: str, x: np.ndarray, sigma: np.ndarray, p: np.ndarray, bootstrap: int, draws: np.random.Generator
) -> dict[str, Any]:
    known = np.isfinite(x) & np.isfinite(sigma)
    x, sigma, p = x[known], sigma[known], p[known]
    row: dict[str, Any] = {"signal": signal, "part": part, "n": int(known.sum())} | dict.fromkeys(
        ("rho", "p", "low", "high", "rho_success", "partial", "partial_low", "partial_high", "partial_spread")
    )
    if len(x) < MIN_GROUPS:
        return row | {"why": f"{len(x)} groups are fewer than {MIN_GROUPS}"}
    counts = resamples(bootstrap, len(x), draws)
    rho = percentile_interval(spearman(x, sigma)[0], spearman(x, sigma, counts))
    if not np.isfinite(rho.value):
        return row | {
            "why": "the standard deviation of returns is the same in every group"
            if np.ptp(sigma) == 0
            else "the signal is the same in every group"
        }
    success_known = bool(np.isfinite(p).all())
    partial = (
        percentile_interval(partial_spearman(x, sigma, [p])[0], partial_spearman(x, sigma, [p], counts))
        if success_known
        else Interval(np.nan, np.nan, np.nan)
    )
    numbers = {
        "rho": rho.value,
        "p": spearman_p(rho.value, len(x)),
        "low": rho.low,
        "high": rho.high,
        "rho_success": spearman(x, p)[0] if success_known else np.nan,
        "partial": partial.value,
        "partial_low": partial.low,
        "partial_high": partial.high,
        "partial_spread": partial_spearman(x, sigma, [p, p * (1 - p)])[0] if success_known else np.nan,
    }
    return row | {name: _number(value) for name, value in numbers.items()} | {"why": ""}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
