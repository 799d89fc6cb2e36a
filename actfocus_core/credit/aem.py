"""AEM: confident turns of a group get more, the group's mean stays."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.credit.base import Credit, Parameter, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch

LEAST_RANGE = 0.1
"""Nats: a group whose turns differ less in entropy is left as it is."""


class AEM(Scheme):
    """A <- a A with a = exp(-lam h) / its mean over the group's turns; h: turn entropy, min-max scaled
    within the prompt group."""

    name = "aem"
    title = "AEM"
    description = "The advantage of each turn is scaled by its confidence, with mean 1 over the prompt group."
    source = "AEM, arXiv 2605.00425"
    read = "paper"
    unit = "turn"
    evidence = "proxy"
    needs = ("policy_entropy",)
    parameters = {"lam": Parameter(1.0, 0, text="how strongly confidence counts")}

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        a = turn_scales(batch, p["lam"])
        return tokens_credit(batch, batch.grpo() * batch.spread(a), p)


def turn_scales(batch: Batch, lam: float) -> np.ndarray:
    """a [K], mean 1 over the turns of each group."""
    entropy = batch.turn_mean(batch.signals["policy_entropy"])
    group, groups = batch.group_of[batch.turn_owner], len(set(batch.groups))
    low, high = np.full(groups, np.inf), np.full(groups, -np.inf)
    np.minimum.at(low, group, entropy)
    np.maximum.at(high, group, entropy)
    span = (high - low)[group]
    flat = span < LEAST_RANGE
    a = np.exp(-lam * np.where(flat, 0.0, (entropy - low[group]) / np.where(flat, 1.0, span)))
    mean = np.bincount(group, a, minlength=groups) / np.maximum(np.bincount(group, minlength=groups), 1)
    return a / mean[group]
