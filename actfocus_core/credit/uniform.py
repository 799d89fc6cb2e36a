"""Uniform credit: every response token has weight 1 (GRPO with a token-mean loss)."""

from __future__ import annotations

from typing import Any

from actfocus_core.credit.base import Credit, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch


class Uniform(Scheme):
    name = "uniform"
    title = "Uniform"
    description = "Every response token gets the group-relative advantage of its trajectory, with equal weight."
    source = "GRPO, arXiv 2402.03300"
    read = "code"
    unit = "trajectory"
    evidence = "observational"

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        return tokens_credit(batch, batch.grpo(), p)
