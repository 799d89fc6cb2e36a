"""PPO: advantages from a trained critic, per token or per turn."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.advantages import gae_float64
from actfocus_core.credit.base import Credit, Parameter, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch

EPSILON = 1e-8
_COMMON = {"gamma": Parameter(1.0, 0, 1, text="discount"), "lam": Parameter(1.0, 0, 1, text="lambda of GAE")}


class PPOGAE(Scheme):
    """GAE over the response tokens, with the return as the reward of the last one (method.md section 4)."""

    name = "ppo_gae"
    title = "PPO-GAE"
    description = "GAE of a trained critic per token, with the return as the reward of the last token."
    source = "GAE, arXiv 1506.02438, as in PPO, arXiv 1707.06347"
    read = "code"
    unit = "token"
    evidence = "observational"
    cost = "C2"
    needs = ("value",)
    parameters = _COMMON

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        row = batch.index[batch.response]
        last = np.append(row[1:] != row[:-1], True)[: len(row)]
        rewards = np.where(last, batch.returns[row], 0.0)
        advantage = np.zeros(len(batch.kinds))
        advantage[batch.response] = gae_float64(
            rewards, batch.signals["value"][batch.response], p["gamma"], p["lam"], row
        )
        return tokens_credit(batch, advantage, p)


class TurnGAE(Scheme):
    """GAE over turns, with the critic's value before the first response token, broadcast to the tokens of the turn.

    ``whiten``: standardise over the turns of the batch. gamma = lam = 1 without whitening gives A_k = return-to-go - V_k.
    """

    name = "turn_gae"
    title = "Turn-level GAE"
    description = "GAE of a trained critic per turn, assigned to all tokens of the turn."
    source = "StepPO, arXiv 2604.18401"
    read = "code"
    unit = "turn"
    evidence = "observational"
    cost = "C2"
    needs = ("value", "turn_reward")
    parameters = {**_COMMON, "whiten": Parameter("yes", choices=("yes", "no"), text="standardise over the batch")}

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        assert batch.turn_rewards is not None  # required by the scheme
        a = gae_float64(batch.turn_rewards, batch.turn_signal("value"), p["gamma"], p["lam"], batch.turn_owner)
        if p["whiten"] == "yes" and a.size:
            a = (a - a.mean()) / np.sqrt(a.var() + EPSILON)
        return tokens_credit(batch, batch.broadcast(a), p)
