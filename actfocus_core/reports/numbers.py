"""Numbers as the text of a page: a dash stands for what is unknown."""

from __future__ import annotations

import math


def decimal(value: float | None) -> str:
    """Three decimals, or a dash where there is no finite number."""
    return f"{value:.3f}" if value is not None and math.isfinite(value) else "-"


def percentage(value: float) -> str:
    """A fraction as a percentage with one decimal, or a dash where there is no finite number."""
    return f"{value:.1%}" if math.isfinite(value) else "-"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A value and its interval in brackets, three decimals each."""
    return f"{decimal(value)} [{decimal(low)}, {decimal(high)}]"
