"""Plotly figures of the Train page; its script fills in the metrics."""

from __future__ import annotations

import plotly.graph_objects as go

from actfocus_studio.shell.figures import HIDDEN, figure, title

DASHES = {"uniform": "solid", "actfocus": "solid", "role_only": "dash", "energy_only": "dot"}
"""The line of each scheme; another trainer's scheme looks like Uniform."""


def experiment_chart() -> dict:
    """One metric against the training step: the edges of a band, then a line per scheme, whose name it has."""
    lines = [
        go.Scatter(
            name=scheme,
            hovertemplate="%{y:.3f}<extra>%{fullData.name}</extra>",
            line={"color": f"var(--af-scheme-{scheme})", "dash": dash, "simplify": False},
            marker={"size": 5},
        )
        for scheme, dash in DASHES.items()
    ]
    return figure(
        go.Scatter(HIDDEN),
        go.Scatter(HIDDEN, fill="tonexty"),
        *lines,
        x={"title": title("step"), "showgrid": False, "nticks": 8, "rangemode": "tozero", "fixedrange": False},
        y={"nticks": 5, "fixedrange": False},
        height=210,
        margin={"l": 46, "r": 12, "t": 8, "b": 42},
        hovermode="x unified",
        dragmode="zoom",
    )
