"""AEM: rescales the advantages of turns by their confidence, with mean scale 1 per group."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.credit.base import Credit, Parameter, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch

MIN_RANGE = 0.1
"""Smallest range of the turn entropies of a group, in nats; below it the group is not rescaled."""


class AEM(Scheme):
    """A_k = a_k A, with a_k = exp(-lam h_k) divided by its mean over the turns of the prompt group.

    h: mean token entropy of the turn, min-max scaled within the group.
    """

    name = "aem"
    title = "AEM"
    description = "Scales the advantage of each turn by its confidence, with mean scale 1 over the prompt group."
    source = "AEM, arXiv 2605.00425"
    read = "paper"
    unit = "turn"
    evidence = "proxy"
    needs = ("policy_entropy",)
    parameters = {"lam": Parameter(1.0, 0, text="strength of the scaling")}

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        scales = turn_scales(batch, p["lam"])
        return tokens_credit(batch, batch.grpo() * batch.broadcast(scales), p)


def turn_scales(batch: Batch, lam: float) -> np.ndarray:
    """float64 [K]: the scale of each turn; the mean over the turns of a group is 1."""
    entropy = batch.turn_mean(batch.signals["policy_entropy"])
    group, groups = batch.group_of[batch.turn_owner], len(set(batch.groups))
    low, high = np.full(groups, np.inf), np.full(groups, -np.inf)
    np.minimum.at(low, group, entropy)
    np.maximum.at(high, group, entropy)
    span = (high - low)[group]
    flat = span < MIN_RANGE
    a = np.exp(-lam * np.where(flat, 0.0, (entropy - low[group]) / np.where(flat, 1.0, span)))
    mean = np.bincount(group, a, minlength=groups) / np.maximum(np.bincount(group, minlength=groups), 1)
    return a / mean[group]
