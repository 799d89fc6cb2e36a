"""Every credit scheme on the same rollouts: where its credit goes, and which schemes lack a signal."""

from __future__ import annotations

from html import escape
from typing import Any

from actfocus_core.credit import HOW_TO_GET, SCHEMES
from actfocus_core.reports import svg
from actfocus_core.reports.elements import number, section, share, table


def draw(compared: dict[str, Any], rows: list[dict[str, Any]], missing: dict[str, list[str]]) -> str:
    """The section of ``compare``'s result: ``rows`` have numbers; ``missing`` maps the other schemes to the signals they lack."""
    key = (
        '<p class="key soft">Share of the credit |c| by kind of token:<span class="reasoning"></span>reasoning'
        '<span class="action"></span>action<span class="format"></span>format</p>'
    )
    bars = svg.stacked_bars(
        "Effective credit by kind of token, every scheme on the same rollouts",
        [
            (
                SCHEMES[r["scheme"]].title,
                {k: r["credit"]["kinds"][k]["mass_share"] for k in ("reasoning", "action", "format")},
            )
            for r in rows
        ],
    )
    lines = []
    for r in rows:
        scheme = SCHEMES[r["scheme"]]
        lines.append(
            [
                scheme.title,
                scheme.description,
                f"{scheme.source} ({scheme.read})",
                ", ".join(f"{k} {v}" for k, v in r["params"].items() if v is not None) or "none",
                share(r["kinds"]["action"]["mass_share"]),
                share(r["credit"]["kinds"]["action"]["mass_share"]),
                f"{r['credit']['effective_tokens']:.0f}",
                share(r["sign_flips"]),
                number(compared["spearman"][r["scheme"]]["uniform"]),
            ]
        )
    lacking = "".join(
        f"<li>{escape(SCHEMES[name].title)}: no {escape(', '.join(needs))}; {escape(HOW_TO_GET[needs[0]])}</li>"
        for name, needs in missing.items()
    )
    return section(
        "Schemes",
        key
        + bars
        + table(
            [
                "scheme",
                "what it does",
                "source (read in)",
                "settings",
                "weight on actions",
                "credit on actions",
                "effective tokens",
                "signs against Uniform flipped",
                "Spearman with Uniform",
            ],
            lines,
            numbers=5,
        )
        + (f"<p>Unavailable on this run:</p><ul>{lacking}</ul>" if lacking else ""),
    )
