"""One rollout of the batch, token by token, shaded by its weights."""

from __future__ import annotations

from html import escape

import numpy as np

from actfocus_core.credit import Batch, get_scheme, token_weights
from actfocus_core.reports.elements import section
from actfocus_core.reports.token_html import shown
from actfocus_core.trajectory import Trajectory


def draw(trajectories: list[Trajectory], batch: Batch) -> str:
    """One rollout of the group whose returns spread most, shaded by its ActFocus weights."""
    spread = {g: np.std(batch.returns[batch.group_of == batch.group_of[i]]) for i, g in enumerate(batch.groups)}
    t = trajectories[batch.groups.index(max(spread, key=spread.__getitem__))]
    own = batch.index == batch.ids.index(t.id)
    credit = get_scheme("actfocus").compute(batch)
    weight = (token_weights(batch.kinds, None, 0.1, 0) if credit.missing else credit.weight)[own]
    shade = weight / max(weight.max(), 1e-9)
    tokens = "".join(
        f'<span class="k{kind}"'
        + (f' style="background:rgba(var(--blue),{0.6 * s:.2f})"' if kind >= 3 else "")
        + f">{escape(shown(text))}</span>"
        for text, kind, s in zip(t.texts, t.kinds.tolist(), shade)
    )
    name = "role only, as energy is not recorded" if credit.missing else "ActFocus"
    return section(
        "One rollout",
        f"<p>{escape(t.id)}, return {t.ret:.3g}; the bluer, the more weight ({name}).</p>"
        f'<div class="stream">{tokens}</div>',
    )
