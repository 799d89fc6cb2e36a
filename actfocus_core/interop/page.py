"""A page of its own: tokens coloured by kind and shaded by weight. No script, nothing to load."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from actfocus_core.reports.token_html import facts, legend, token_style, token_title, tokens_html

if TYPE_CHECKING:
    from actfocus_core.interop.exporting import Weighted

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.6 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
summary { cursor: pointer; } .facts { opacity: .75; }
"""


def write_page(items: Iterator[Weighted], path: Path, about: dict[str, str]) -> None:
    """Write the page of ``Weighted`` trajectories; everything of theirs is escaped text.

    Weights are shaded on one scale, from 0 to the largest of each trajectory.
    """
    with open(path, "w", encoding="utf-8") as file:
        title = escape(f"{about['run']}: {about['scheme']}")
        file.write(
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}{token_style("body")}</style></head>\n'
            f"<body><h1>{title}</h1><p>{legend()}</p>\n"
            "<p>The shade of a token is its weight; the whole training step is the batch.</p>\n"
        )
        for item in items:
            file.write(_trajectory(item))
        file.write("</body></html>\n")


def _trajectory(item: Weighted) -> str:
    t = item.trajectory
    titles = [
        token_title(t, i, [("weight", item.weight[i]), ("weighted advantage", item.advantage[i])])
        for i in range(len(t))
    ]
    return (
        f'<details open><summary><b>{escape(t.id)}</b> <span class="facts">{facts(t)}</span></summary>'
        f"<pre>{tokens_html(t, item.weight, titles)}</pre></details>\n"
    )
