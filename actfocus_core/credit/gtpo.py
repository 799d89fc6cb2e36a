"""GTPO: rewards shaped by token entropy, among the rollouts that are still alive at a position."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.credit.base import Credit, Parameter, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch

FLOOR = 1e-6
"""Entropies are at least this, in nats: 1 / H must stay finite."""


class GTPO(Scheme):
    """Successes: r = a1 R + a2 d_t H_t / sum_live H. Failures: r = -a1 - a2 h_t (1 / H_t) / sum_live (1 / H).

    d_t and h_t: successes and failures of the group that are still writing at response position
    t of the rollout. The tokens of a group's successes and of its failures are standardised ``apart``, so both
    have mean 0 and the outcome itself is no longer in the credit; ``together`` (ours) standardises
    over all tokens of the group and keeps it.
    """

    name = "gtpo"
    title = "GTPO"
    description = (
        "Rewards uncertain tokens of successes and penalizes certain tokens of failures, standardized separately over the "
        "rollouts that reach the same position, which removes the outcome itself."
    )
    source = "GTPO and GRPO-S, arXiv 2508.04349"
    read = "paper"
    unit = "token"
    evidence = "proxy"
    needs = ("policy_entropy", "success")
    parameters = {
        "a1": Parameter(1.0, 0, text="share of the outcome"),
        "a2": Parameter(0.1, 0, text="share of the entropy"),
        "scope": Parameter("apart", choices=("apart", "together"), text="what is standardised over"),
    }

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        advantage = np.zeros(len(batch.kinds), np.float32)
        r, half = shaped_rewards(batch, p["a1"], p["a2"])
        advantage[batch.response] = standardised(r, half if p["scope"] == "apart" else half // 2)
        return tokens_credit(batch, advantage, p)


def shaped_rewards(batch: Batch, a1: float, a2: float) -> tuple[np.ndarray, np.ndarray]:
    """r float64 [M] of the M response tokens; and int64 [M], which half of which group each is of."""
    own, position = batch.index[batch.response], batch.position[batch.response]
    succeeded = batch.success == 1
    half = (2 * batch.group_of + succeeded)[own]
    entropy = np.maximum(batch.signals["policy_entropy"][batch.response].astype(np.float64), FLOOR)
    success = succeeded[own]
    share = np.where(success, entropy, 1 / entropy)
    cell = half * (position.max(initial=0) + 1) + position
    total, live = np.bincount(cell, share), np.bincount(cell)
    bonus = a2 * share * (live / np.where(live > 0, total, 1))[cell]
    return np.where(success, a1 * batch.returns[own] + bonus, -a1 - bonus), half


def standardised(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(v - mean) / std within each label; 0 where all values of a label are the same."""
    count = np.maximum(np.bincount(labels), 1)
    centred = values - (np.bincount(labels, values) / count)[labels]
    std = np.sqrt(np.bincount(labels, centred**2) / count)[labels]
    scaled: np.ndarray = np.divide(centred, std, out=np.zeros_like(centred), where=std > 1e-9)
    return scaled
