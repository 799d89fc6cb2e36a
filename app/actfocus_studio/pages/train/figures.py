"""Plotly figures of the Train page; its script fills in the metrics."""

from __future__ import annotations

import plotly.graph_objects as go


def experiment_chart() -> str:
    """The template of a chart, as JSON: one metric against the training step, one line per run."""
    layout = go.Layout(
        template="none",
        height=210,
        margin={"l": 46, "r": 12, "t": 8, "b": 42},
        uirevision="race",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        hovermode="x unified",
        dragmode="zoom",
        font={"size": 11},
        xaxis={"showgrid": False, "zeroline": False, "nticks": 8, "rangemode": "tozero"},
        yaxis={"nticks": 5, "zeroline": False},
    )
    return go.Figure([], layout).to_json()
