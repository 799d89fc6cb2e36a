"""ResT: weights by region of the response, mean 1 a trajectory."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.credit.base import Credit, Parameter, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch
from actfocus_core.trajectory import TokenKind

FLOOR = 0.01
"""Nats: the least entropy of a region, so that a region without doubt has a finite weight (ours)."""


class ResT(Scheme):
    """Regions are the kinds of response tokens of a trajectory.

    ``schedule``: tags (format) 1.0, action 1.2, reasoning 0.6 + 0.002 ``step``, at most 1.0. The
    method tells a tool's name (1.2) from its arguments (0.6 + 0.002 ``step``, at most 1.2); an
    action here is both, and gets the name's weight (ours). ``entropy``: w proportional to
    1 / (1 - exp(-H)), H the region's mean entropy.
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
        "form": Parameter("schedule", choices=("schedule", "entropy"), text="where weights come from"),
        "step": Parameter(0, 0, text="training step of the schedule"),
    }

    def required(self, p: dict[str, Any]) -> tuple[str, ...]:
        return ("policy_entropy",) if p["form"] == "entropy" else ()

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        raw = self._by_entropy(batch) if p["form"] == "entropy" else self._by_schedule(batch, p["step"])
        weight, own = np.zeros(len(batch.kinds)), batch.index[batch.response]
        sums = np.bincount(own, raw[batch.response])[own]
        weight[batch.response] = raw[batch.response] * np.bincount(own)[own] / sums
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
