"""The HTML page of an export: tokens coloured by kind and shaded by weight, without scripts or external resources."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from actfocus_core.reports.templating import template
from actfocus_core.reports.token_html import facts, legend, token_style, token_title, tokens_html

if TYPE_CHECKING:
    from actfocus_core.interop.exporting import Weighted


def write_page(items: Iterator[Weighted], path: Path, about: dict[str, str]) -> None:
    """Write the page of ``Weighted`` trajectories, holding one trajectory in memory at a time.

    Each trajectory is shaded from 0 to its largest weight. ``about``: names of the ``run`` and the ``scheme``.
    """
    stream = template("page.html.j2", "actfocus_core.interop").stream(
        title=f"{about['run']}: {about['scheme']}",
        token_style=Markup(token_style("body")),
        legend=Markup(legend()),
        trajectories=map(_trajectory, items),
    )
    stream.enable_buffering()
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(stream)


def _trajectory(item: Weighted) -> dict[str, str]:
    """The template values of one trajectory. Only ``tokens`` is HTML, escaped by token_html."""
    t = item.trajectory
    titles = [
        token_title(t, i, [("weight", item.weight[i]), ("weighted advantage", item.advantage[i])])
        for i in range(len(t))
    ]
    return {"id": t.id, "facts": facts(t), "tokens": Markup(tokens_html(t, item.weight, titles))}
