"""ResT: weights per region of the response, with mean 1 per trajectory."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.credit.base import Credit, Parameter, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch
from actfocus_core.trajectory import TokenKind

FLOOR = 0.01
"""Lower bound of a region's entropy in nats, so that the weight of a deterministic region is finite (ours)."""


class ResT(Scheme):
    """The regions of a trajectory are its kinds of response tokens.

    ``schedule``: format 1.0, action 1.2, reasoning 0.6 + 0.002 ``step``, at most 1.0. The published method distinguishes the
    name of a tool (1.2) from its arguments (0.6 + 0.002 ``step``, at most 1.2); an action here is both and has the weight of
    the name (ours). ``entropy``: weights proportional to 1 / (1 - exp(-H)), H the mean entropy of the region.
    """

    name = "rest"
    title = "ResT"
    description = (
        "Format and action tokens have more weight than reasoning early in training; the weight of reasoning increases "
        "during training."
    )
    source = "ResT, ICLR 2026"
    read = "code"
    unit = "token"
    evidence = "proxy"
    parameters = {
        "form": Parameter("schedule", choices=("schedule", "entropy"), text="source of the weights"),
        "step": Parameter(0, 0, text="training step of the schedule"),
    }

    def required(self, p: dict[str, Any]) -> tuple[str, ...]:
        return ("policy_entropy",) if p["form"] == "entropy" else ()

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        raw = self._by_entropy(batch) if p["form"] == "entropy" else self._by_schedule(batch, p["step"])
        weight, trajectory = np.zeros(len(batch.kinds)), batch.index[batch.response]
        sums = np.bincount(trajectory, raw[batch.response])[trajectory]
        weight[batch.response] = raw[batch.response] * np.bincount(trajectory)[trajectory] / sums
        return tokens_credit(batch, batch.grpo(), p, weight=weight)

    def _by_schedule(self, batch: Batch, step: float) -> np.ndarray:
        table = np.ones(len(TokenKind))
        table[TokenKind.ACTION] = 1.2
        table[TokenKind.REASONING] = min(0.6 + 0.002 * step, 1.0)
        return table[batch.kinds]

    def _by_entropy(self, batch: Batch) -> np.ndarray:
        region = (batch.index * len(TokenKind) + batch.kinds)[batch.response]
        total = np.bincount(region, batch.signals["policy_entropy"][batch.response].astype(np.float64))
        mean = total / np.maximum(np.bincount(region), 1)
        raw = np.zeros(len(batch.kinds))
        raw[batch.response] = 1 / -np.expm1(-np.maximum(mean[region], FLOOR))
        return raw
