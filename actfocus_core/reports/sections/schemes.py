"""Every credit scheme on the same rollouts: where its credit lies, and which schemes lack a signal."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from actfocus_core.credit import HOW_TO_GET, SCHEMES
from actfocus_core.reports import svg
from actfocus_core.reports.numbers import decimal, percentage
from actfocus_core.reports.templating import html

RESPONSE_KINDS = ("reasoning", "action", "format")


def draw(compared: dict[str, Any], rows: list[dict[str, Any]], missing: dict[str, list[str]]) -> Markup:
    """The section of ``compare``'s result.

    ``rows``: the schemes that could be computed. ``missing``: for each of the others, the signals it lacks.
    """
    shares = [
        (SCHEMES[r["scheme"]].title, {kind: r["credit"]["kinds"][kind]["mass_share"] for kind in RESPONSE_KINDS})
        for r in rows
    ]
    return html(
        "sections/schemes.html.j2",
        kinds=RESPONSE_KINDS,
        chart=svg.stacked_bars("Effective credit by token kind; every scheme on the same rollouts", shares),
        response_tokens=f"{rows[0]['tokens']:,}" if rows else "0",
        rows=[_row(r, compared["spearman"][r["scheme"]]["uniform"]) for r in rows],
        unavailable=[
            {"title": SCHEMES[name].title, "needs": ", ".join(needs), "cure": HOW_TO_GET[needs[0]]}
            for name, needs in missing.items()
        ],
    )


def _row(row: dict[str, Any], with_uniform: float | None) -> list[str]:
    scheme = SCHEMES[row["scheme"]]
    return [
        scheme.title,
        scheme.description,
        f"{scheme.source} ({scheme.read})",
        ", ".join(f"{name} {value}" for name, value in row["params"].items() if value is not None) or "none",
        percentage(row["kinds"]["action"]["mass_share"]),
        percentage(row["credit"]["kinds"]["action"]["mass_share"]),
        f"{row['credit']['effective_tokens']:,.0f}",
        percentage(row["sign_flips"]),
        decimal(with_uniform),
    ]
