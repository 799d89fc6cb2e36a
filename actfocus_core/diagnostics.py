"""Where the gradient goes."""

from __future__ import annotations

import numpy as np

from actfocus_core.errors import ActFocusError
from actfocus_core.trajectory import RESPONSE_KINDS, response_mask


def gradient_mass(kinds: np.ndarray, weights: np.ndarray, advantages: np.ndarray | None = None) -> dict:
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
    return {"kinds": table, "tokens": tokens, "mass": total,
            "effective_tokens": total**2 / squares if squares else 0.0}


def _share(of_kind: np.ndarray, mass: np.ndarray, tokens: int, total: float) -> dict:
    count, own = int(of_kind.sum()), float(mass[of_kind].sum())
    return {"tokens": count, "token_share": count / tokens if tokens else float("nan"),
            "mass": own, "mass_share": own / total if total else float("nan")}
