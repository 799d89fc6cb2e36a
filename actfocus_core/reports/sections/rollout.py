"""An example rollout, token by token, shaded by its weights."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from actfocus_core.credit import Batch, get_scheme, token_weights
from actfocus_core.reports.templating import html
from actfocus_core.reports.token_html import shown
from actfocus_core.trajectory import TokenKind, Trajectory

DARKEST = 0.55
"""Opacity of the shade of the largest weight; the text on it keeps a contrast of 4.5 on light and dark pages."""


def draw(trajectories: list[Trajectory], batch: Batch) -> Markup:
    """One rollout of the group with the largest standard deviation of returns, shaded by its ActFocus weights.

    Without recorded energy, the weights are those of the scheme role only.
    """
    deviation = {g: _deviation(batch, i) for i, g in enumerate(batch.groups)}
    t = trajectories[batch.groups.index(max(deviation, key=deviation.__getitem__))]
    credit = get_scheme("actfocus").compute(batch)
    weight = token_weights(batch.kinds, None, 0.1, 0) if credit.missing else credit.weight
    weight = weight[batch.index == batch.ids.index(t.id)]
    shades = DARKEST * weight / max(weight.max(), 1e-9)
    return html(
        "sections/rollout.html.j2",
        id=t.id,
        ret=f"{t.ret:.3g}" if np.isfinite(t.ret) else "unknown",
        weights="role only, because energy is not recorded" if credit.missing else "ActFocus",
        tokens=[
            {"text": shown(text), "kind": kind, "shade": f"{shade:.2f}" if kind >= TokenKind.REASONING else ""}
            for text, kind, shade in zip(t.texts, t.kinds.tolist(), shades)
        ],
    )


def _deviation(batch: Batch, i: int) -> float:
    """The standard deviation of the known returns of a trajectory's group; below any where none is known."""
    returns = batch.returns[(batch.group_of == batch.group_of[i]) & batch.counted]
    known = returns[np.isfinite(returns)]
    return float(np.std(known)) if len(known) else -1.0
