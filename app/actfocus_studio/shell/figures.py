"""The Plotly figure that several pages share, without data: a page fills it in."""

from __future__ import annotations

import plotly.graph_objects as go


def plain() -> str:
    """The empty figure of the charts of the Groups and Tune pages, as JSON."""
    axis = {"showgrid": True, "zeroline": False, "nticks": 6, "fixedrange": True}
    layout = go.Layout(
        template="none",
        margin={"l": 50, "r": 12, "t": 8, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        hovermode="closest",
        dragmode=False,
        font={"size": 11},
        xaxis=axis,
        yaxis=axis,
    )
    return go.Figure([], layout).to_json()
