"""The credit that a scheme gives to every token of a trajectory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actfocus_core.credit import get_scheme
from actfocus_studio.data import columns
from actfocus_studio.data.columns import Float32Column
from actfocus_studio.data.message import Message
from actfocus_studio.data.scored_batches import ScoredBatch
from actfocus_studio.data.view import KEPT, TUNED, View

TOP = 95
"""Percentile of |credit| over the response tokens at which the colour scale saturates, so that outliers do not
wash out the rest."""


class TokenCredit(Message):
    """The credit of every token of a trajectory; null where a signal is missing, or the trajectory has no return."""

    credit: Float32Column | None
    missing: list[str]
    """Signals that the scheme needs."""


def token_credit(scored: ScoredBatch, name: str, view: View, id: str) -> tuple[TokenCredit, float]:
    """The effective credit of one trajectory under a scheme, and the magnitude at which its colour scale saturates."""
    [credit], top = token_credits(scored, name, view, [id])
    return credit, top


def token_credits(scored: ScoredBatch, name: str, view: View, ids: Sequence[str]) -> tuple[list[TokenCredit], float]:
    """The effective credit of trajectories under a scheme, and the magnitude at which their common colour scale saturates.

    Credit is scaled by N, the number of response tokens of the batch. Under Uniform it then equals the advantage,
    and values of different batches are comparable. The magnitude is 0 where no trajectory has credit.
    """
    batch = scored.batch
    params = view.kept_params() if name == KEPT else view.scheme_params().get(name.rpartition(":")[2], {})
    credit = get_scheme(TUNED if name == KEPT else name).compute(batch, **params)
    missing = credit.missing or (("energy",) if scored.without_signals else ())
    none = TokenCredit(credit=None, missing=list(missing))
    if credit.missing or not any(id in batch.ids for id in ids):
        return [none for _ in ids], 0.0
    scaled = credit.effective() * batch.response.sum()
    size = np.abs(scaled[batch.response])
    top = float(np.percentile(size, TOP)) or float(size.max(initial=0.0))
    return [
        TokenCredit(credit=columns.float32(scaled[batch.index == batch.ids.index(id)]), missing=[])
        if id in batch.ids
        else none
        for id in ids
    ], top
