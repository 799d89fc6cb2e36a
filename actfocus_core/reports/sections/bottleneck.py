"""The action bottleneck: the correlation of the standard deviation of a prompt's returns with its mean signals."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from actfocus_core.analysis.diagnostics import MIN_GROUPS
from actfocus_core.reports import svg
from actfocus_core.reports.numbers import decimal, interval
from actfocus_core.reports.templating import html


def draw(bottleneck: dict[str, Any]) -> Markup:
    """The section of ``action_bottleneck``'s result."""
    confound = bottleneck["confound"]
    return html(
        "sections/bottleneck.html.j2",
        chart=_chart(
            [g for g in bottleneck["groups"] if g.get("energy_action") is not None and g["sigma"] is not None]
        ),
        too_few=len(bottleneck["groups"]) < MIN_GROUPS,
        least_groups=MIN_GROUPS,
        rows=[_row(r) for r in bottleneck["correlations"]],
        rho_success=decimal(confound["rho_success"]),
        rho_spread=decimal(confound["rho_spread"]),
        binary=confound["binary"],
        unknown_returns=sum(g["unknown_returns"] for g in bottleneck["groups"]),
        unknown_success=sum(g["unknown_success"] for g in bottleneck["groups"]),
        missing=", ".join(bottleneck["missing"]),
    )


def _chart(groups: list[dict[str, Any]]) -> Markup:
    if not groups:
        return Markup()
    return svg.scatter(
        "Standard deviation of returns against mean action energy, one point per prompt",
        np.array([g["energy_action"] for g in groups]),
        np.array([g["sigma"] for g in groups]),
        [g["group"] for g in groups],
        "mean energy of action tokens (nats)",
        "standard deviation of returns",
    )


def _row(row: dict[str, Any]) -> list[str]:
    return [
        row["signal"],
        row["part"],
        str(row["n"]),
        row["why"] or interval(row["rho"], row["low"], row["high"]),
        "" if row["p"] is None else f"{row['p']:.2g}",
        decimal(row["rho_success"]),
        "" if row["why"] else interval(row["partial"], row["partial_low"], row["partial_high"]),
    ]
