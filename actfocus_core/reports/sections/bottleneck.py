"""The action bottleneck: how the spread of a prompt's returns correlates with its signals."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from actfocus_core.analysis.diagnostics import LEAST_GROUPS
from actfocus_core.reports import svg
from actfocus_core.reports.elements import number, section, table


def draw(found: dict[str, Any]) -> str:
    """The section of ``action_bottleneck``'s result."""
    groups = [g for g in found["groups"] if g.get("energy_action") is not None]
    chart = (
        svg.scatter(
            "Each prompt's spread of returns and its mean action energy",
            np.array([g["energy_action"] for g in groups]),
            np.array([g["sigma"] for g in groups]),
            [g["group"] for g in groups],
            "mean energy of action tokens",
            "sigma of the returns",
        )
        if groups
        else ""
    )
    lines = [
        [
            r["signal"],
            r["part"],
            str(r["n"]),
            r["why"] or f"{number(r['rho'])} [{number(r['low'])}, {number(r['high'])}]",
            "" if r["p"] is None else f"{r['p']:.2g}",
            number(r["rho_success"]),
            "" if r["why"] else f"{number(r['partial'])} [{number(r['partial_low'])}, {number(r['partial_high'])}]",
        ]
        for r in found["correlations"]
    ]
    confound = found["confound"]
    said = (
        f"<p>The confound: sigma itself has rho {number(confound['rho_success'])} with the groups' success rate p and "
        f"{number(confound['rho_spread'])} with p(1-p)"
        + ("; returns take two values here, so sigma is a function of p." if confound["binary"] else ".")
        + "</p>"
    )
    missing = f'<p class="soft">Not recorded: {escape(", ".join(found["missing"]))}.</p>' if found["missing"] else ""
    few = "" if len(found["groups"]) >= LEAST_GROUPS else f"<p>Under {LEAST_GROUPS} groups no correlation is given.</p>"
    return section(
        "Action bottleneck",
        chart
        + few
        + table(
            [
                "signal",
                "tokens",
                "groups",
                "rho with sigma [95 %]",
                "p",
                "rho with success",
                "rho given success [95 %]",
            ],
            lines,
            numbers=5,
        )
        + said
        + missing,
    )
