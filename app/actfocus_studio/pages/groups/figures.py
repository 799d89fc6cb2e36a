"""Plotly figures of the Groups page; its script fills in the groups."""

from __future__ import annotations

import plotly.graph_objects as go

from actfocus_studio.shell.figures import HIDDEN, figure, title

LABEL = "%{text}<extra></extra>"
CHART = {"height": 250, "uirevision": "groups"}


def figures() -> dict[str, dict]:
    """The charts of the page by name."""
    return {"scatter": scatter(), "confound": confound(), "returns": returns()}


def scatter() -> dict:
    """A signal against sigma: the band of the trend, its line, and a point per group."""
    band = [go.Scatter(HIDDEN), go.Scatter(HIDDEN, fill="tonexty", fillcolor="var(--af-tint)")]
    points = go.Scatter(mode="markers", hovertemplate=LABEL, marker={"line": {"width": 1.6}})
    return _against_sigma(*band, _dotted(), points, x={"title": title("")})


def confound() -> dict:
    """The success rate against sigma: the curve of returns that take two values, and a point per place."""
    points = go.Scatter(mode="markers", hovertemplate=LABEL, marker={"opacity": 0.8})
    x = {"title": title("success rate p of the group"), "range": [-0.05, 1.05], "tickformat": ".0%"}
    return _against_sigma(_dotted(), points, x=x)


def returns() -> dict:
    """A bar per return, and an invisible column above it: a bar of one rollout among hundreds is too low to click."""
    bars = go.Bar(textposition="outside", hoverinfo="skip", marker={"color": "var(--af-accent)"})
    columns = go.Bar(marker={"color": "rgba(0,0,0,0)"}, hovertemplate="%{hovertext}<extra></extra>")
    x, y = {"title": title("return"), "showgrid": False}, {"title": title("rollouts")}
    return figure(bars, columns, x=x, y=y, bargap=0.12, barmode="overlay", **CHART)


def _dotted() -> go.Scatter:
    return go.Scatter(mode="lines", line={"width": 1.3, "color": "var(--af-muted)", "dash": "dot"}, hoverinfo="skip")


def _against_sigma(*traces: go.Scatter, x: dict) -> dict:
    """A chart of groups in which a box selects; the points are its last trace."""
    traces[-1].unselected = {"marker": {"opacity": 0.15}}
    return figure(*traces, x=x, y={"title": title("σ of returns")}, dragmode="select", selections=[], **CHART)
