"""Metrics of a run as columns, for the charts of a page."""

from __future__ import annotations

import math
import re

KEYS = re.compile(
    r"step|success/rate|reward/return|format/(well_formed|collapsed)|loss/policy|kl/(update|reference)|"
    r"entropy/\w+|mass/\w+|grad/norm|clip/\w+|tokens/per_second|seconds/elapsed|eval/t[\d.]+/success(_low|_high)?"
)
"""Names of the metrics that a page draws."""


def columns(rows: list[dict]) -> dict[str, list]:
    """The metrics that a page draws, one value per row or None. As JSON, columns are half the size of rows."""
    names = dict.fromkeys(name for row in rows for name in row if KEYS.fullmatch(name))
    return {name: [_number(row.get(name)) for row in rows] for name in names}


def _number(value: object) -> float | None:
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None
