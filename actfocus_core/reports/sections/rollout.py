"""One rollout of the batch, token by token, shaded by its weights."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from actfocus_core.credit import Batch, get_scheme, token_weights
from actfocus_core.reports.templating import html
from actfocus_core.reports.token_html import shown
from actfocus_core.trajectory import TokenKind, Trajectory

DARKEST = 0.6
"""Opacity of the shade behind the token of largest weight."""


def draw(trajectories: list[Trajectory], batch: Batch) -> Markup:
    """One rollout of the group whose returns vary most, shaded by its ActFocus weights.

    Where energy is not recorded, the weights are those of the kinds alone.
    """
    deviation = {g: np.std(batch.returns[batch.group_of == batch.group_of[i]]) for i, g in enumerate(batch.groups)}
    t = trajectories[batch.groups.index(max(deviation, key=deviation.__getitem__))]
    credit = get_scheme("actfocus").compute(batch)
    weight = token_weights(batch.kinds, None, 0.1, 0) if credit.missing else credit.weight
    weight = weight[batch.index == batch.ids.index(t.id)]
    shades = DARKEST * weight / max(weight.max(), 1e-9)
    return html(
        "sections/rollout.html.j2",
        id=t.id,
        ret=f"{t.ret:.3g}",
        weights="role only, as energy is not recorded" if credit.missing else "ActFocus",
        tokens=[
            {"text": shown(text), "kind": kind, "shade": f"{shade:.2f}" if kind >= TokenKind.REASONING else ""}
            for text, kind, shade in zip(t.texts, t.kinds.tolist(), shades)
        ],
    )
