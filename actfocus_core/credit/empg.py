"""EMPG: advantages modulated by the entropy of the turn and of the next turn."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.credit.base import Credit, Parameter, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch


class EMPG(Scheme):
    """A_k = A g_k + zeta exp(-kappa h_{k+1}), minus the mean over all turns of the batch.

    h: mean token entropy of the turn, min-max scaled over the batch. g_k = exp(-kappa h_k), divided by its mean over the
    batch. The last turn has no second term. kappa = zeta = 0 gives mean-centred GRPO.
    """

    name = "empg"
    title = "EMPG"
    description = "Amplifies the advantage of confident turns, attenuates that of uncertain ones, and adds a bonus for reaching confident states."
    source = "Entropy-Modulated Policy Gradients, arXiv 2509.09265"
    read = "code"
    unit = "turn"
    evidence = "proxy"
    needs = ("policy_entropy",)
    parameters = {
        "kappa": Parameter(1.0, 0, text="strength of the modulation"),
        "zeta": Parameter(0.05, 0, text="bonus for a confident next turn"),
    }

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        entropy = batch.turn_mean(batch.signals["policy_entropy"])
        span = np.ptp(entropy) if entropy.size else 0.0
        h = (entropy - entropy.min()) / span if span > 0 else np.zeros_like(entropy)
        clarity = np.exp(-p["kappa"] * h)
        gain = clarity / clarity.mean() if clarity.size else clarity
        a = batch.grpo()[batch.turn_first] * gain + p["zeta"] * batch.following(clarity)
        return tokens_credit(batch, batch.broadcast(a - a.mean() if a.size else a), p)
