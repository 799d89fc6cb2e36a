"""Uniform credit: every response token has weight 1 (GRPO with a token-mean loss)."""

from __future__ import annotations

import numpy as np

from actfocus_core.credit.base import Batch, Credit


class Uniform:
    name = "uniform"
    title = "Uniform"
    source = "GRPO, arXiv 2402.03300 (code)"
    defaults: dict = {}

    def compute(self, batch: Batch) -> Credit:
        ones = batch.response.astype(np.float32)
        return Credit(batch.grpo(), ones, ones, np.ones_like(ones))
