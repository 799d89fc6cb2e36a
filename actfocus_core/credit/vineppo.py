"""VinePPO: Monte Carlo values from additional rollouts of every turn's state."""

from __future__ import annotations

from typing import Any

from actfocus_core.credit.base import Credit, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch


class VinePPO(Scheme):
    """A_k = r_k + V(s_{k+1}) - V(s_k), with V = 0 after the end; the sum over a trajectory is R - V(s_0).

    V is the signal ``policy_v``; the published method uses the mean return of 9 additional rollouts from the state.
    """

    name = "vineppo"
    title = "VinePPO"
    description = "The credit of a turn is the change in the policy's expected return, including the randomness of the environment."
    source = "VinePPO, arXiv 2410.01679"
    read = "code"
    unit = "turn"
    evidence = "restored state"
    cost = "C3"
    needs = ("policy_v", "turn_reward")

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        value = batch.turn_signal("policy_v")
        return tokens_credit(batch, batch.broadcast(batch.turn_rewards + batch.following(value) - value), p)
