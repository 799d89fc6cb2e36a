"""Plotly figures of the Tune page; its script fills in the batch."""

from __future__ import annotations

import plotly.graph_objects as go

from actfocus_core.credit import SCHEMES
from actfocus_studio.shell.controls import presets
from actfocus_studio.shell.figures import figure, title

KINDS = ("reasoning", "action", "format")
TEXT, ACCENT, SETTING = "var(--af-text)", "var(--af-accent)", "#d55e00"


def maps() -> dict:
    """A map over alpha and beta, the presets on it, and the mark of a setting."""
    field = go.Contour(
        zmin=0,
        zmax=1,
        showscale=False,
        hoverongaps=False,
        colorscale=[[0, "var(--af-map-low)"], [1, "var(--af-map-high)"]],
        hovertemplate="α %{x:.2f}, β %{y:.2f}: %{z:.1%}<extra></extra>",
        line={"width": 0.7, "color": "var(--af-muted)"},
        contours={
            "coloring": "heatmap",
            "start": 0.1,
            "end": 0.9,
            "size": 0.1,
            "showlabels": True,
            "labelformat": ".0%",
            "labelfont": {"size": 10, "color": TEXT},
        },
    )
    marks = {"mode": "markers+text", "hoverinfo": "skip", "cliponaxis": False}
    alphas = [alpha for alpha, _ in presets().values()]
    places = go.Scatter(
        marks,
        x=alphas,
        y=[beta for _, beta in presets().values()],
        text=[SCHEMES[name].title for name in presets()],
        textposition=["top left" if alpha > 0.5 else "top right" for alpha in alphas],
        textfont={"size": 10.5, "color": TEXT},
        marker={"symbol": "circle-open", "size": 8, "color": TEXT, "line": {"width": 1.4}},
    )
    setting = go.Scatter(
        marks,
        textposition="bottom center",
        textfont={"size": 12, "color": TEXT},
        marker={"size": 14, "color": SETTING, "line": {"width": 2, "color": "var(--af-surface)"}},
    )
    x = {"title": title("α, reasoning weight"), "range": [-0.02, 1.02], "nticks": 11, "showgrid": False}
    y = {"title": title("β, action boost"), "range": [-0.06, 2.06], "showgrid": False}
    return figure(field, places, setting, x=x, y=y, height=330, uirevision="tune")


def curve() -> dict:
    """The distribution of the signal for each kind, the weight of actions and of the other tokens, and μ ± σ."""
    kinds = [
        go.Scatter(
            name=kind,
            mode="lines",
            fill="tozeroy",
            opacity=0.9,
            line={
                "color": f"var(--af-{kind})",
                "width": 1.6,
                "shape": "hvh",
                "dash": "dot" if kind == "format" else "solid",
            },
            hovertemplate=f"%{{y:.1%}} of {kind}<extra></extra>",
        )
        for kind in KINDS
    ]
    weights = [
        go.Scatter(name=name, mode="lines", yaxis="y2", line=line, hovertemplate="weight %{y:.3f}<extra></extra>")
        for name, line in (
            ("weight of action tokens", {"color": TEXT, "width": 2.4}),
            ("weight of reasoning and format tokens", {"color": TEXT, "width": 1.6, "dash": "dash"}),
        )
    ]
    at = {"xref": "x", "yref": "paper"}
    edge = at | {"y0": 0, "y1": 1}
    area = edge | {"type": "rect", "fillcolor": ACCENT, "opacity": 0.08, "line": {"width": 0}, "layer": "below"}
    label = at | {"y": 1, "showarrow": False, "yanchor": "bottom", "font": {"size": 11, "color": ACCENT}}
    return figure(
        *kinds,
        *weights,
        x={"title": title("", standoff=2)},
        y={"title": title("share of tokens of the kind"), "tickformat": ".0%", "rangemode": "tozero"},
        yaxis2={
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
            "dtick": 0.5,
            "linecolor": "var(--af-line)",
            "title": title("weight"),
        },
        height=330,
        margin={"l": 50, "r": 56, "t": 30, "b": 70},
        hovermode="x",
        showlegend=True,
        legend={"orientation": "h", "y": -0.17, "x": 0, "font": {"size": 11.5, "color": TEXT}},
        shapes=[area, edge | {"type": "line", "line": {"color": ACCENT, "width": 1.4, "dash": "dot"}}],
        annotations=[label | {"text": text} for text in ("μ", "μ + σ", "μ − σ")],
    )
