"""Where the gradient goes, and whether uncertainty follows the spread of returns."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.credit.batch import Batch
from actfocus_core.errors import ActFocusError
from actfocus_core.outcomes import numbers
from actfocus_core.stats import (
    Interval,
    line_values,
    once,
    partial_spearman,
    percentile_band,
    percentile_interval,
    resamples,
    spearman,
    spearman_p,
)
from actfocus_core.trajectory import RESPONSE_KINDS, TokenKind, response_mask

LEAST_GROUPS = 8
"""With fewer groups no correlation is given."""
PARTS = {"all": RESPONSE_KINDS, "reasoning": (TokenKind.REASONING,), "action": (TokenKind.ACTION,)}
BOTTLENECK_SIGNALS = ("energy", "centred_energy", "entropy", "policy_entropy")


def gradient_mass(kinds: np.ndarray, weights: np.ndarray, advantages: np.ndarray | None = None) -> dict[str, Any]:
    """How weight divides over the kinds of response tokens.

    ``kinds``, ``weights``: the tokens of a batch, one shape; ``advantages``: of the same shape,
    then mass is w * |A|. Returns kind name -> {tokens, token_share, mass, mass_share}, and
    ``effective_tokens`` (sum m)^2 / sum m^2, the number of equally weighted tokens that would
    spread as much. This is nominal mass, the coefficient on grad log pi; how long the gradients
    are is another matter. Shares are NaN where there is nothing to share. Raises
    ActFocusError where shapes differ.
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
    count, own = int(of_kind.sum()), float(mass[of_kind].sum())
    return {
        "tokens": count,
        "token_share": count / tokens if tokens else float("nan"),
        "mass": own,
        "mass_share": own / total if total else float("nan"),
    }


def action_bottleneck(batch: Batch, *, bootstrap: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Does the spread of a group's returns follow its mean signal on action tokens (method.md section 5)?

    Returns plain values:

    * ``groups``: a row each: ``group, rollouts, sigma`` (population standard deviation of the
      returns), ``mean_return, success`` (rate), both over the rollouts of which they are known, with ``unknown_returns``
      and ``unknown_success``, the numbers of the others; None where none is known; and ``SIGNAL_PART``: the mean over the group's tokens of
      that part (all, reasoning, action), None where it has none. Signals: energy and entropy of the
      reference, and ours, those that are recorded;
    * ``correlations``: a row for each signal and part: ``signal, part, n`` groups, Spearman's ``rho``
      with sigma, two-sided ``p``, 95 % bootstrap interval over groups ``low, high``; ``rho_success``, its
      correlation with the success rate; ``partial``, ``partial_low``, ``partial_high``: with sigma, given
      the success rate; ``partial_spread``: given the success rate and p (1 - p). ``why`` says why a number
      is None;
    * ``confound``: ``rho_success``: of sigma with the success rate; ``rho_spread``: with p (1 - p);
      ``binary``: returns take two values at most, then sigma is a function of the success rate, the
      second partial correlation does not exist, and the first leaves what is not monotone. Correlations with and
      given the success rate are None where it is unknown in a group;
    * ``missing``: signals that are not recorded.

    Source: paper, the Action Bottleneck; the success rate beside it is ours.
    """
    groups = _group_rows(batch)
    sigma, p = (numbers(g[name] for g in groups) for name in ("sigma", "success"))
    known = np.isfinite(sigma) & np.isfinite(p)
    enough = known.sum() >= LEAST_GROUPS
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
    """The least-squares line of y on x, each [n], and its pointwise 95 % bootstrap band: a guide for the eye.

    Returns ``x, y, low, high``, lists of ``points``; None under LEAST_GROUPS points, or where x does
    not vary. Resamples in which x does not vary are left out. Ours.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(x) < LEAST_GROUPS or not np.ptp(x) > 1e-9 * np.abs(x).max():
        return None
    at = np.linspace(x.min(), x.max(), points)
    whole = line_values(x, y, once(len(x)), at)[0]
    low, high = percentile_band(line_values(x, y, resamples(bootstrap, len(x), np.random.default_rng(seed)), at))
    return {name: values.tolist() for name, values in (("x", at), ("y", whole), ("low", low), ("high", high))}


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
        own = (batch.group_of == g) & batch.counted
        if not own.any():
            continue  # an agent that is not trained
        returns, success = batch.returns[own], batch.success[own]
        known, told = returns[np.isfinite(returns)], success[np.isfinite(success)]
        # Equal returns have no spread, whatever their rounding.
        rows.append(
            {
                "group": name,
                "rollouts": len(returns),
                "sigma": (float(known.std()) if np.ptp(known) else 0.0) if len(known) else None,
                "mean_return": float(known.mean()) if len(known) else None,
                "success": float(told.mean()) if len(told) else None,
                "unknown_returns": len(returns) - len(known),
                "unknown_success": len(success) - len(told),
                **{f"{signal}_{part}": _number(values[g]) for (signal, part), values in means.items()},
            }
        )
    return rows


def _group_means(batch: Batch, signal: str, kinds: tuple[TokenKind, ...]) -> np.ndarray:
    """Mean of a signal over each group's tokens of these kinds: float64 [groups], NaN where there are none."""
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
    if len(x) < LEAST_GROUPS:
        return row | {"why": f"{len(x)} groups are fewer than {LEAST_GROUPS}"}
    counts = resamples(bootstrap, len(x), draws)
    rho = percentile_interval(spearman(x, sigma)[0], spearman(x, sigma, counts))
    if not np.isfinite(rho.value):
        return row | {
            "why": "the spread of returns is the same in every group"
            if np.ptp(sigma) == 0
            else "the signal is the same in every group"
        }
    told = bool(np.isfinite(p).all())
    partial = (
        percentile_interval(partial_spearman(x, sigma, [p])[0], partial_spearman(x, sigma, [p], counts))
        if told
        else Interval(np.nan, np.nan, np.nan)
    )
    numbers = {
        "rho": rho.value,
        "p": spearman_p(rho.value, len(x)),
        "low": rho.low,
        "high": rho.high,
        "rho_success": spearman(x, p)[0] if told else np.nan,
        "partial": partial.value,
        "partial_low": partial.low,
        "partial_high": partial.high,
        "partial_spread": partial_spearman(x, sigma, [p, p * (1 - p)])[0] if told else np.nan,
    }
    return row | {name: _number(value) for name, value in numbers.items()} | {"why": ""}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
