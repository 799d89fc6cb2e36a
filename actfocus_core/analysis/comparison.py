"""Comparison of credit schemes on one batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.analysis.diagnostics import gradient_mass
from actfocus_core.credit import Batch, Credit, get_scheme
from actfocus_core.stats import correlation, midranks, unit_counts


def compare(batch: Batch, credits: dict[str, Credit]) -> dict[str, Any]:
    """Gradient shares of each credit, and the correlations between credits.

    ``credits``: name -> credit of this batch. Returns plain JSON values:

    * ``schemes``: a row per scheme: ``scheme, params, missing``; if nothing is missing also the ``gradient_mass`` of its
      weights (keep * weight), ``credit``: the same for its absolute effective credit |c|, and ``sign_flips``: the fraction of
      response tokens whose credit has the opposite sign of uniform credit, among tokens where both are nonzero (NaN if there
      are none);
    * ``spearman``: name -> name -> rank correlation of the signed effective credit over all response tokens, NaN if either
      is constant.
    """
    uniform = get_scheme("uniform").compute(batch).effective()[batch.response]
    rows, ranks = [], {}
    counts = unit_counts(len(uniform))
    for name, credit in credits.items():
        row: dict[str, Any] = {"scheme": name, "params": credit.params, "missing": list(credit.missing)}
        if not credit.missing:
            effective = credit.effective()
            ranks[name] = midranks(effective[batch.response], counts)
            row |= gradient_mass(batch.kinds, credit.keep * credit.weight)
            row |= {
                "credit": gradient_mass(batch.kinds, np.abs(effective)),
                "sign_flips": _flips(effective[batch.response], uniform),
            }
        rows.append(row)
    return {
        "schemes": rows,
        "spearman": {a: {b: float(correlation(ranks[a], ranks[b], counts)[0]) for b in ranks} for a in ranks},
    }


def _flips(credit: np.ndarray, uniform: np.ndarray) -> float:
    both = (credit != 0) & (uniform != 0)
    return float((credit * uniform < 0)[both].mean()) if both.any() else float("nan")
