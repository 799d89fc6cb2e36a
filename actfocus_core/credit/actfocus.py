"""ActFocus and its two ablations: weights by role and by energy (method.md section 3)."""

from __future__ import annotations

import numpy as np

from actfocus_core.credit.base import Batch, Credit
from actfocus_core.credit.weights import check_parameters, token_weights
from actfocus_core.errors import ActFocusError
from actfocus_core.signals import SIGNALS

SOURCE = "ActFocus, arXiv 2605.14558 (paper)"


class ActFocus:
    """w = alpha on reasoning and format, 1 + beta * sigmoid(z) on actions."""

    source = SOURCE

    def __init__(self, name: str, title: str, alpha: float, beta: float):
        self.name, self.title = name, title
        self.defaults = {"alpha": alpha, "beta": beta, "signal": "energy", "format_weight": None}

    def compute(self, batch: Batch, **params) -> Credit:
        """Params: ``alpha`` in [0, 1], ``beta`` >= 0, ``signal`` of SIGNALS, ``format_weight``."""
        unknown = set(params) - set(self.defaults)
        if unknown:
            raise ActFocusError(f"{self.name}: unknown parameter {min(unknown)!r}; there are "
                                f"{', '.join(self.defaults)}")
        p = {**self.defaults, **params}
        check_parameters(p["alpha"], p["beta"], p["format_weight"])
        if p["signal"] not in SIGNALS:
            raise ActFocusError(f"unknown signal {p['signal']!r}; there are {', '.join(SIGNALS)}")
        keep = batch.response.astype(np.float32)
        missing = () if not p["beta"] or p["signal"] in batch.signals else (p["signal"],)
        if missing:
            weight = np.where(batch.response, np.float32(np.nan), np.float32(0))
        else:
            weight = token_weights(batch.kinds, batch.signals.get(p["signal"]), p["alpha"], p["beta"],
                                   p["format_weight"])
        return Credit(batch.grpo(), weight, keep, np.ones_like(keep), missing=missing, params=p)
