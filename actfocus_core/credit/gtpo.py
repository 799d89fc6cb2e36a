"""GTPO: token rewards shaped by entropy, relative to the rollouts that reach the same position."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.credit.base import Credit, Parameter, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch

FLOOR = 1e-6
"""Lower bound of the entropies in nats, so that 1 / H is finite."""


class GTPO(Scheme):
    """Successes: r = a1 R + a2 d_t H_t / sum_d H. Failures: r = -a1 - a2 h_t (1 / H_t) / sum_h (1 / H).

    d_t and h_t: the numbers of successes and of failures of the group that reach response index t; the sums are over these.
    Scope ``apart`` standardises the tokens of a group's successes and those of its failures separately, so both have mean 0
    and the outcome itself is not in the credit. ``together`` (ours) standardises over all tokens of the group, which keeps it.
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
        "a1": Parameter(1.0, 0, text="coefficient of the outcome"),
        "a2": Parameter(0.1, 0, text="coefficient of the entropy"),
        "scope": Parameter(
            "apart", choices=("apart", "together"), text="standardise successes and failures separately or together"
        ),
    }

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        advantage = np.zeros(len(batch.kinds), np.float32)
        r, outcome = shaped_rewards(batch, p["a1"], p["a2"])
        advantage[batch.response] = standardised(r, outcome if p["scope"] == "apart" else outcome // 2)
        return tokens_credit(batch, advantage, p)


def shaped_rewards(batch: Batch, a1: float, a2: float) -> tuple[np.ndarray, np.ndarray]:
    """r, float64 [M], of the M response tokens; and 2 * group + success, int64 [M]."""
    trajectory, position = batch.index[batch.response], batch.response_index[batch.response]
    succeeded = batch.success == 1
    outcome = (2 * batch.group_of + succeeded)[trajectory]
    entropy = np.maximum(batch.signals["policy_entropy"][batch.response].astype(np.float64), FLOOR)
    success = succeeded[trajectory]
    share = np.where(success, entropy, 1 / entropy)
    cell = outcome * (position.max(initial=0) + 1) + position
    total, alive = np.bincount(cell, share), np.bincount(cell)
    bonus = a2 * share * (alive / np.where(alive > 0, total, 1))[cell]
    return np.where(success, a1 * batch.returns[trajectory] + bonus, -a1 - bonus), outcome


def standardised(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(value - mean) / std within each label; 0 if all values of a label are equal."""
    count = np.maximum(np.bincount(labels), 1)
    centred = values - (np.bincount(labels, values) / count)[labels]
    std = np.sqrt(np.bincount(labels, centred**2) / count)[labels]
    scaled: np.ndarray = np.divide(centred, std, out=np.zeros_like(centred), where=std > 1e-9)
    return scaled
