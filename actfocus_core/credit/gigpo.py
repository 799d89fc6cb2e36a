"""GiGPO: a second group-relative advantage among the turns that stand in the same state."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.advantages import EPSILON
from actfocus_core.credit.base import Credit, Parameter, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch


class GiGPO(Scheme):
    """A = A_E + omega A_S. A_E: the return against the group's. A_S: the turn's discounted return-to-go
    against those of all turns of the prompt group in the same state; alone = 0.

    ``mode`` mean only centres both, mean_std divides both by their standard deviation, as the
    method's code does. At omega = 0: GRPO under mean_std, GRPO without the division under mean.
    """

    name = "gigpo"
    title = "GiGPO"
    description = (
        "Adds to the trajectory's advantage that of each turn relative to other turns taken in the same state."
    )
    source = "GiGPO, arXiv 2505.10978"
    read = "code"
    unit = "turn"
    evidence = "observational"
    needs = ("state_key", "turn_reward")
    parameters = {
        "omega": Parameter(1.0, 0, text="share of the turn's own advantage"),
        "gamma": Parameter(0.95, 0, 1, text="discount a turn"),
        "mode": Parameter("mean", choices=("mean", "mean_std"), text="whether to divide by the deviation"),
    }

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        std = p["mode"] == "mean_std"
        assert batch.turn_states is not None  # One of the needs.
        step = within_state(discounted_returns(batch, p["gamma"]), batch.turn_states, std)
        return tokens_credit(batch, batch.grpo(std) + p["omega"] * batch.spread(step), p)


def discounted_returns(batch: Batch, gamma: float) -> np.ndarray:
    """Return-to-go of every turn, float64 [K], discounted once a turn."""
    assert batch.turn_rewards is not None  # One of the needs.
    total = batch.turn_rewards.copy()
    for k in range(len(total) - 2, -1, -1):
        if not batch.turn_last[k]:
            total[k] += gamma * total[k + 1]
    return total


def within_state(values: np.ndarray, states: np.ndarray, std: bool) -> np.ndarray:
    """[K]: each turn's value minus the mean over its state, divided by the deviation where ``std``."""
    count = np.bincount(states)
    centred: np.ndarray = values - (np.bincount(states, values) / np.maximum(count, 1))[states]
    # One turn, or turns that went alike: exactly 0, whatever the rounding.
    centred[np.abs(centred) < 1e-12] = 0.0
    if not std:
        return centred
    spread = np.sqrt(np.bincount(states, centred**2) / np.maximum(count, 1))
    scaled: np.ndarray = centred / (spread[states] + EPSILON)
    return scaled
