"""ActFocus and its two ablations: token weights from kind and energy (method.md section 3)."""

from __future__ import annotations

from typing import Any

from actfocus_core.credit.base import Cost, Credit, Parameter, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch
from actfocus_core.credit.weights import token_weights
from actfocus_core.signals import OUR_SIGNALS, SIGNALS


class ActFocus(Scheme):
    """w = alpha on reasoning and format tokens, 1 + beta * sigmoid(z) on action tokens; z is the standardised signal."""

    source = "ActFocus, arXiv 2605.14558"
    read = "paper"
    unit = "token"
    evidence = "proxy"
    cost: Cost = "C1"

    def __init__(self, name: str, title: str, description: str, alpha: float, beta: float):
        self.name, self.title, self.description = name, title, description
        self.needs = ("energy",) if beta else ()
        self.cost = "C1" if beta else "C0"
        self.parameters = {
            "alpha": Parameter(alpha, 0, 1, text="weight of reasoning and format tokens"),
            "beta": Parameter(beta, 0, text="largest additional weight of an uncertain action token"),
            "signal": Parameter("energy", choices=(*SIGNALS, *OUR_SIGNALS), text="the measure of uncertainty"),
            "format_weight": Parameter(None, 0, text="weight of format tokens; None: alpha"),
        }

    def required(self, p: dict[str, Any]) -> tuple[str, ...]:
        return (p["signal"],) if p["beta"] else ()

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        weight = token_weights(batch.kinds, batch.signals.get(p["signal"]), p["alpha"], p["beta"], p["format_weight"])
        return tokens_credit(batch, batch.grpo(), p, weight=weight)
