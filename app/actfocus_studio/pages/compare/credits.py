"""What the schemes do with a batch, as the Compare page shows it: plain JSON values."""

from __future__ import annotations

import numpy as np

from actfocus_core.analysis.comparison import compare
from actfocus_core.analysis.scoreboard import Truth, credits_of, scoreboard
from actfocus_core.credit import SCHEMES, get_scheme
from actfocus_studio.data.scored_batches import ScoredBatch
from actfocus_studio.data.serialize import numbers, plain
from actfocus_studio.data.view import KEPT, TUNED, View

TOP = 95
"""Percentile of |credit| over the response tokens at which the colour is full: a few outliers do not
bleach all the rest."""
TRUTHS = {"policy": ("policy", "the policy’s own advantage"), "oracle": ("optimal", "perfect play")}
"""Whose values -> what the page calls them and how it says it."""


def token_credit(scored: ScoredBatch, name: str, view: View, id: str) -> tuple[dict, float]:
    """A scheme's effective credit of one trajectory, and where its scale ends.

    Credit is c times N, the response tokens of the batch: under Uniform the advantage itself, and so
    comparable between batches. ``credit`` is a value a token, None where the scheme lacks a
    signal (``missing``) or the trajectory has no return.
    """
    batch = scored.batch
    given = view.kept_params() if name == KEPT else view.scheme_params().get(name.rpartition(":")[2], {})
    credit = get_scheme(TUNED if name == KEPT else name).compute(batch, **given)
    if credit.missing or id not in batch.ids:
        return {"credit": None, "missing": list(credit.missing)}, 0.0
    scaled = credit.effective() * batch.response.sum()
    size = np.abs(scaled[batch.response])
    top = float(np.percentile(size, TOP)) or float(size.max(initial=0.0))
    return {"credit": numbers(scaled[batch.index == batch.ids.index(id)]), "missing": []}, top


def table(scored: ScoredBatch, view: View) -> dict:
    """What ``actfocus_core.analysis.comparison.compare`` says of every scheme, with the null controls where the view asks."""
    batch = scored.batch
    found = compare(batch, credits_of(batch, list(SCHEMES), view.controls, view.scheme_params()))
    return plain(found) | {
        "rollouts": len(batch.ids),
        "unscored": scored.unscored,
        "tokens": int(batch.response.sum()),
    }


def boards(scored: ScoredBatch, view: View) -> list[dict]:
    """A scoreboard for each truth that the batch carries."""
    batch = scored.batch
    known = [of for of in TRUTHS if batch.has(f"{of}_q") and batch.has(f"{of}_v")]
    if not known:
        return []
    credits = credits_of(batch, list(SCHEMES), view.controls, view.scheme_params())
    return [
        plain(scoreboard(batch, credits, Truth.of(batch, of)).to_dict())
        | {"values": TRUTHS[of][0], "truth": TRUTHS[of][1], "rollouts": len(batch.ids)}
        for of in known
    ]
