"""Plotly figures of the Trace page, without data: the page fills it in."""

from __future__ import annotations

import plotly.graph_objects as go

from actfocus_studio.theme import ACCENT, SIGNAL


def token_line() -> dict:
    """The chart by token position: the weight as an area, a signal on a second axis."""
    weight = go.Scatter(
        name="weight",
        mode="lines",
        x=[],
        y=[],
        line={"color": ACCENT, "width": 1.2, "shape": "hvh"},
        fill="tozeroy",
        fillcolor="rgba(0,114,178,0.28)",
        hovertemplate="weight %{y:.3f}<extra></extra>",
    )
    signal = go.Scatter(
        name="signal",
        mode="lines",
        x=[],
        y=[],
        yaxis="y2",
        line={"color": SIGNAL, "width": 1},
        opacity=0.75,
        hovertemplate="%{fullData.name} %{y:.3f}<extra></extra>",
    )
    # Labels fit the margins. Without this plotly measures them, with a layout of the page at every redraw.
    within = {"ticklabeloverflow": "allow"}
    layout = go.Layout(
        template="none",
        height=148,
        margin={"l": 50, "r": 64, "t": 6, "b": 24},
        uirevision="trace",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        hovermode="x",
        hoverdistance=40,
        dragmode="zoom",
        font={"size": 11},
        shapes=[],
        annotations=[],
        xaxis={"showgrid": False, "zeroline": False, "nticks": 12, **within},
        yaxis={"rangemode": "tozero", "nticks": 4, "zeroline": False, "fixedrange": True, **within},
        yaxis2={
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "nticks": 4,
            "zeroline": False,
            "fixedrange": True,
            **within,
        },
    )
    return go.Figure([weight, signal], layout).to_plotly_json()
