"""Dr.GRPO: no normalisation by the group's standard deviation or by the response length."""

from __future__ import annotations

from typing import Any

from actfocus_core.credit.base import Credit, Parameter, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch


class DrGRPO(Scheme):
    """A = R - mean_group(R); the loss is the sum over tokens divided by the number of rollouts times ``length``."""

    name = "dr_grpo"
    title = "Dr.GRPO"
    description = (
        "The return minus the group mean, without division by the standard deviation; token losses are summed and divided by a "
        "constant length, which removes the length bias."
    )
    source = "Dr.GRPO, arXiv 2503.20783"
    read = "code"
    unit = "trajectory"
    evidence = "observational"
    parameters = {
        "length": Parameter(2000, 1, text="constant divisor: the maximum number of response tokens of a rollout")
    }

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        return tokens_credit(batch, batch.grpo(std=False), p, divisor=int(batch.counted.sum()) * float(p["length"]))
