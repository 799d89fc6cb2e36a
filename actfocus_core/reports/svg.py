"""Small charts as SVG, for files that open anywhere: no script, no font, no request to any address.

Every text is escaped here, so the results are Markup. Colours come from the page's style sheet by class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import numpy as np
from markupsafe import Markup

WIDTH, LABEL, BAR = 720, 190, 20
LABELLED = 12
"""Largest number of bars that are all labelled with their value."""


def stacked_bars(title: str, rows: Sequence[tuple[str, dict[str, float]]]) -> Markup:
    """Horizontal bars of shares that sum to 1. ``rows``: label and the share of each part; parts have the class ``fill-PART``."""
    span, parts = WIDTH - LABEL - 10, []
    for i, (label, shares) in enumerate(rows):
        y, x = i * BAR, float(LABEL)
        parts.append(f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(label)}</text>')
        for part, share in shares.items():
            width = max(share, 0.0) * span if np.isfinite(share) else 0.0
            parts.append(
                f'<rect x="{x:.1f}" y="{y + 2}" width="{width:.1f}" height="{BAR - 4}" '
                f'class="fill-{escape(part)}"><title>{escape(label)}: {escape(part)} {share:.1%}</title></rect>'
            )
            x += width
    return _chart(title, len(rows) * BAR + 4, "".join(parts))


def scatter(title: str, x: np.ndarray, y: np.ndarray, labels: Sequence[str], x_name: str, y_name: str) -> Markup:
    """Points with axes; a point's label is its tooltip."""
    height, left, bottom = 300, 60, 40
    fx, fy = _scale(x, left, WIDTH - 20), _scale(y, height - bottom, 15)
    points = "".join(
        f'<circle cx="{fx(a):.1f}" cy="{fy(b):.1f}" r="4"><title>{escape(label)}: {escape(x_name)} '
        f"{a:.3g}, {escape(y_name)} {b:.3g}</title></circle>"
        for a, b, label in zip(x, y, labels)
    )
    return _chart(title, height, _axes(_ends(x, fx), y, fy, height, left, bottom, x_name, y_name) + points)


def lines(title: str, x: np.ndarray, series: dict[str, np.ndarray], x_name: str, y_name: str) -> Markup:
    """One line per series over the same ``x``, distinguished by dashes and by the name at its end."""
    height, left, bottom, right = 260, 60, 40, 110
    values = np.concatenate(list(series.values()))
    fx, fy = _scale(x, left, WIDTH - right), _scale(values, height - bottom, 15)
    parts = []
    for i, (name, y) in enumerate(series.items()):
        known = np.isfinite(y)
        if not known.any():
            continue
        path = " ".join(f"{fx(a):.1f},{fy(b):.1f}" for a, b in zip(x[known], y[known]))
        parts.append(
            f'<polyline points="{path}" class="line" stroke-dasharray="{("none", "6 3", "2 3")[i % 3]}"/>'
            f'<text x="{WIDTH - right + 6}" y="{fy(y[known][-1]) + 4:.1f}">{escape(name)}</text>'
        )
    return _chart(title, height, _axes(_ends(x, fx), values, fy, height, left, bottom, x_name, y_name) + "".join(parts))


def histogram(title: str, values: np.ndarray, x_name: str, bins: int = 20) -> Markup:
    """Counts of rollouts by value: one bar per distinct value if there are at most ``bins``, else ``bins`` equal bins."""
    height, left, bottom = 220, 60, 40
    distinct, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    names = [f"{v:.3g}" for v in distinct]
    if len(distinct) > bins:
        counts, edges = np.histogram(values[np.isfinite(values)], bins=bins)
        names = [f"{a:.3g} to {b:.3g}" for a, b in zip(edges, edges[1:])]
    slot = (WIDTH - 20 - left) / max(len(counts), 1)
    fy = _scale(np.append(counts, 0), height - bottom, 15)
    # At least one pixel, so that one rollout among thousands is visible.
    bars = "".join(
        f'<rect x="{left + k * slot + 1:.1f}" y="{min(fy(n), fy(0) - 1):.1f}" width="{max(slot - 2, 1):.1f}" '
        f'height="{max(fy(0) - fy(n), 1):.1f}" class="fill-bar"><title>{name}: {n}</title></rect>'
        for k, (name, n) in enumerate(zip(names, counts))
        if n
    )
    labelled = range(len(names)) if len(names) <= LABELLED else (0, len(names) - 1)
    marks = {left + (k + 0.5) * slot: names[k] for k in labelled}
    return _chart(
        title, height, _axes(marks, np.append(counts, 0), fy, height, left, bottom, x_name, "number of rollouts") + bars
    )


def _scale(values: np.ndarray, start: float, end: float) -> Callable[[float], float]:
    low, high = (float(f(values)) for f in (np.nanmin, np.nanmax))
    span = high - low
    return lambda v: start + (end - start) * ((v - low) / span if span > 0 else 0.5)


def _ends(x: np.ndarray, fx: Callable[[float], float]) -> dict[float, str]:
    """The marks of a numeric axis: its two ends."""
    return {fx(v): f"{v:.3g}" for v in (float(np.nanmin(x)), float(np.nanmax(x)))}


def _axes(
    marks: dict[float, str],
    y: np.ndarray,
    fy: Callable[[float], float],
    height: float,
    left: float,
    bottom: float,
    x_name: str,
    y_name: str,
) -> str:
    parts = [
        f'<line x1="{left}" y1="{height - bottom}" x2="{WIDTH - 20}" y2="{height - bottom}"/>',
        f'<line x1="{left}" y1="15" x2="{left}" y2="{height - bottom}"/>',
        f'<text x="{(left + WIDTH) / 2}" y="{height - 6}" text-anchor="middle">{escape(x_name)}</text>',
        f'<text x="14" y="{height / 2}" text-anchor="middle" transform="rotate(-90 14 {height / 2})">{escape(y_name)}</text>',
    ]
    parts += [
        f'<text x="{at:.1f}" y="{height - bottom + 16}" text-anchor="middle">{escape(text)}</text>'
        for at, text in marks.items()
    ]
    parts += [
        f'<text x="{left - 6}" y="{fy(v) + 4:.1f}" text-anchor="end">{v:.3g}</text>'
        for v in dict.fromkeys((float(np.nanmin(y)), float(np.nanmax(y))))
    ]
    return "".join(parts)


def _chart(title: str, height: float, body: str) -> Markup:
    return Markup(
        f'<figure><figcaption>{escape(title)}</figcaption><svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">{body}</svg></figure>'
    )
