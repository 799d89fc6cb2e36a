"""Credit, scheme table and scoreboards of a batch for the Compare page, as plain JSON values."""

from __future__ import annotations

import numpy as np

from actfocus_core.analysis.comparison import compare
from actfocus_core.analysis.scoreboard import Truth, credits_of, scoreboard
from actfocus_core.credit import SCHEMES, get_scheme
from actfocus_studio.data.scored_batches import ScoredBatch
from actfocus_studio.data.serialize import numbers, plain
from actfocus_studio.data.view import KEPT, TUNED, View

TOP = 95
"""Percentile of |credit| over the response tokens at which the colour scale saturates, so that outliers do not
wash out the rest."""
TRUTHS = {
    "policy": ("policy", "advantages of the policy, A^π"),
    "oracle": ("optimal", "advantages of the optimal policy, A*"),
}
"""Prefix of the signals of a ground truth -> its name in requests, and its title on the page."""


def token_credit(scored: ScoredBatch, name: str, view: View, id: str) -> tuple[dict, float]:
    """The effective credit of one trajectory under a scheme, and the magnitude at which its colour scale saturates.

    Credit is scaled by N, the number of response tokens of the batch. Under Uniform it then equals the advantage,
    and values of different batches are comparable. ``credit`` has one value per token; it is None where a signal
    that the scheme needs is ``missing``, or the trajectory has no return.
    """
    batch = scored.batch
    params = view.kept_params() if name == KEPT else view.scheme_params().get(name.rpartition(":")[2], {})
    credit = get_scheme(TUNED if name == KEPT else name).compute(batch, **params)
    if credit.missing or id not in batch.ids:
        return {"credit": None, "missing": list(credit.missing)}, 0.0
    scaled = credit.effective() * batch.response.sum()
    size = np.abs(scaled[batch.response])
    top = float(np.percentile(size, TOP)) or float(size.max(initial=0.0))
    return {"credit": numbers(scaled[batch.index == batch.ids.index(id)]), "missing": []}, top


def table(scored: ScoredBatch, view: View) -> dict:
    """The comparison of all schemes on a batch, including null controls where the view requests them."""
    batch = scored.batch
    comparison = compare(batch, credits_of(batch, list(SCHEMES), view.controls, view.scheme_params()))
    return plain(comparison) | {
        "rollouts": len(batch.ids),
        "unscored": scored.unscored,
        "tokens": int(batch.response.sum()),
    }


def boards(scored: ScoredBatch, view: View) -> list[dict]:
    """A scoreboard for each ground truth whose values the batch has."""
    batch = scored.batch
    available = [oracle for oracle in TRUTHS if batch.has(f"{oracle}_q") and batch.has(f"{oracle}_v")]
    if not available:
        return []
    credits = credits_of(batch, list(SCHEMES), view.controls, view.scheme_params())
    return [
        plain(scoreboard(batch, credits, Truth.of(batch, oracle)).to_dict())
        | {"values": TRUTHS[oracle][0], "truth": TRUTHS[oracle][1], "rollouts": len(batch.ids)}
        for oracle in available
    ]
