"""A2TGPO: the information gain of each turn about the correct answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.credit.base import Credit, Parameter, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch
from actfocus_core.credit.gtpo import standardised
from actfocus_core.credit.weights import sigmoid


class A2TGPO(Scheme):
    """A_k = A + share * D_k, with D_k = sum_{j >= k} gamma^{j-k} ig_j / sqrt(number of terms).

    ig_k = p_k - p_{k-1}, where p = exp(mean log-prob of the solution's text), standardised over the turns with the same
    index in the prompt group. The clip range is scaled by 1 + clip * (2 sigmoid(ig_k) - 1), and by 1 in the last turn; the
    importance ratio is computed per turn.
    """

    name = "a2tgpo"
    title = "A2TGPO"
    description = "Adds the change in the probability of the correct answer to the advantage of each turn, and scales its clip range by it."
    source = "A2TGPO, arXiv 2605.06200"
    read = "paper"
    unit = "turn"
    evidence = "model-relative"
    cost = "C1"
    needs = ("answer_logprob_before", "answer_logprob_after")
    parameters = {
        "share": Parameter(0.3, 0, text="coefficient of the information gain"),
        "gamma": Parameter(1.0, 0, 1, text="discount per turn"),
        "clip": Parameter(0.3, 0, 1, text="strength of the scaling of the clip range"),
    }

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        turn = turn_numbers(batch)
        stratum = batch.group_of[batch.turn_owner] * (turn.max(initial=0) + 1) + turn
        gain = standardised(information_gain(batch), stratum)
        total, terms = gain.copy(), np.ones(len(gain))
        for k in range(len(gain) - 2, -1, -1):
            if not batch.turn_last[k]:
                total[k] += p["gamma"] * total[k + 1]
                terms[k] += terms[k + 1]
        scale = np.where(batch.turn_last, 1.0, 1 + p["clip"] * (2 * sigmoid(gain) - 1))
        advantage = batch.grpo() + p["share"] * batch.broadcast(total / np.sqrt(terms))
        return tokens_credit(
            batch, advantage, p, ratio_unit="turn", clip_scale=np.where(batch.response, batch.broadcast(scale), 1)
        )


def information_gain(batch: Batch) -> np.ndarray:
    """p after each turn minus p before it, float64 [K]; the sum over a trajectory is p_K - p_0."""
    before, after = (batch.turn_signal(f"answer_logprob_{when}") for when in ("before", "after"))
    return np.exp(after) - np.exp(before)


def turn_numbers(batch: Batch) -> np.ndarray:
    """int64 [K]: the index of each turn in its rollout."""
    return batch.index_in_rollout(batch.turn_owner)
