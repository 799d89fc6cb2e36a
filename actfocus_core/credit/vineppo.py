"""VinePPO: values by fresh rollouts from every turn's state."""

from __future__ import annotations

from typing import Any

from actfocus_core.credit.base import Credit, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch


class VinePPO(Scheme):
    """A_k = r_k + V(s_{k+1}) - V(s_k), V = 0 after the end; over a trajectory they add up to R - V(s_0).

    V is ``policy_v``; the method takes the mean return of 9 fresh rollouts from the state.
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
        return tokens_credit(batch, batch.spread(batch.turn_rewards + batch.following(value) - value), p)
