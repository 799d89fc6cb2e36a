"""Plotly figures without data, which the pages fill in.

A colour ``var(--af-NAME)`` is one of the style sheet: the browser looks it up whenever it draws (``web/lib/plots.js``).
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

HIDDEN = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
"""An edge of a band."""


def figure(*traces: Any, x: dict | None = None, y: dict | None = None, **layout: Any) -> dict:
    """A chart in the studio's style; ``x`` and ``y`` go into the axes."""
    line = "var(--af-line)"
    axis = {"zeroline": False, "nticks": 6, "fixedrange": True, "gridcolor": line, "linecolor": line, "tickcolor": line}
    standard = {
        "template": "none",
        "margin": {"l": 50, "r": 12, "t": 8, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": False,
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "var(--af-surface)",
            "bordercolor": line,
            "font": {"color": "var(--af-text)", "size": 12},
        },
        "dragmode": False,
        "font": {"size": 11, "color": "var(--af-muted)"},
        "xaxis": axis | (x or {}),
        "yaxis": axis | (y or {}),
    }
    return go.Figure(traces, go.Layout(standard | layout)).to_plotly_json()


def title(text: str, standoff: int = 4) -> dict:
    """The title of an axis."""
    return {"text": text, "standoff": standoff, "font": {"size": 11.5}}
