"""Credit schemes side by side on one batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.analysis.diagnostics import gradient_mass
from actfocus_core.credit import Batch, Credit, get_scheme
from actfocus_core.stats import correlation, midranks, once


def compare(batch: Batch, credits: dict[str, Credit]) -> dict[str, Any]:
    """What each credit does with the batch, and how alike they are.

    ``credits``: name -> credit of this batch. Returns plain JSON values:

    * ``schemes``: a row each: ``scheme, params, missing``; where nothing is missing also the
      ``gradient_mass`` of its weights (keep * weight), ``credit``: the same of its effective credit
      |c|, and ``sign_flips``: the share of response tokens to which it and Uniform give credit of
      opposite sign, among those to which both give any (NaN where there are none);
    * ``spearman``: name -> name -> rank correlation of the signed effective credit over all
      response tokens, NaN where one of them does not vary.
    """
    uniform = get_scheme("uniform").compute(batch).effective()[batch.response]
    rows, ranks = [], {}
    whole = once(len(uniform))
    for name, credit in credits.items():
        row: dict[str, Any] = {"scheme": name, "params": credit.params, "missing": list(credit.missing)}
        if not credit.missing:
            effective = credit.effective()
            ranks[name] = midranks(effective[batch.response], whole)
            row |= gradient_mass(batch.kinds, credit.keep * credit.weight)
            row |= {
                "credit": gradient_mass(batch.kinds, np.abs(effective)),
                "sign_flips": _flips(effective[batch.response], uniform),
            }
        rows.append(row)
    return {
        "schemes": rows,
        "spearman": {a: {b: float(correlation(ranks[a], ranks[b], whole)[0]) for b in ranks} for a in ranks},
    }


def _flips(credit: np.ndarray, uniform: np.ndarray) -> float:
    both = (credit != 0) & (uniform != 0)
    return float((credit * uniform < 0)[both].mean()) if both.any() else float("nan")
