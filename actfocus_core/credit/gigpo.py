"""GiGPO: adds a second group-relative advantage over the turns taken in the same state."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.advantages import EPSILON
from actfocus_core.credit.base import Credit, Parameter, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch


class GiGPO(Scheme):
    """A = A_E + omega A_S.

    A_E: the return relative to the returns of the group. A_S: the discounted return-to-go of the turn relative to those of all
    turns of the prompt group in the same state; 0 if there is no other. ``mode``: ``mean`` centres both, ``mean_std`` also
    divides both by their standard deviation, as the published code does. omega = 0 gives GRPO under ``mean_std``, and GRPO
    without the division under ``mean``.
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
        "omega": Parameter(1.0, 0, text="coefficient of the turn-level advantage"),
        "gamma": Parameter(0.95, 0, 1, text="discount per turn"),
        "mode": Parameter("mean", choices=("mean", "mean_std"), text="whether to divide by the standard deviation"),
    }

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        std = p["mode"] == "mean_std"
        assert batch.turn_states is not None  # required by the scheme
        step = within_state(discounted_returns(batch, p["gamma"]), batch.turn_states, std)
        return tokens_credit(batch, batch.grpo(std) + p["omega"] * batch.broadcast(step), p)


def discounted_returns(batch: Batch, gamma: float) -> np.ndarray:
    """Return-to-go of every turn, float64 [K], discounted per turn."""
    assert batch.turn_rewards is not None  # required by the scheme
    total = batch.turn_rewards.copy()
    for k in range(len(total) - 2, -1, -1):
        if not batch.turn_last[k]:
            total[k] += gamma * total[k + 1]
    return total


def within_state(values: np.ndarray, states: np.ndarray, std: bool) -> np.ndarray:
    """[K]: each turn's value minus the mean over its state, divided by the standard deviation if ``std``."""
    count = np.bincount(states)
    centred: np.ndarray = values - (np.bincount(states, values) / np.maximum(count, 1))[states]
    # A single turn, or turns with equal values: exactly 0, without rounding errors.
    centred[np.abs(centred) < 1e-12] = 0.0
    if not std:
        return centred
    deviation = np.sqrt(np.bincount(states, centred**2) / np.maximum(count, 1))
    scaled: np.ndarray = centred / (deviation[states] + EPSILON)
    return scaled
