"""Answers of the What-if panel as plain JSON values, with tokens in columns."""

from __future__ import annotations

import numpy as np

from actfocus_core.counterfactual.store import WhatIf, signal
from actfocus_core.counterfactual.walkthrough import ADVANTAGE, AFTER, BEFORE, WEIGHT, walkthrough
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.signals import signal_values
from actfocus_core.trajectory import Trajectory
from actfocus_studio.data.serialize import drawn_turns, finite, numbers, plain, texts

TOP = 99
"""Percentile of |change| over the response tokens of a batch at which the colour saturates."""


def shown(what: WhatIf, run: Run, selected: str, original: Trajectory | None) -> dict:
    """Request and result, and the tokens of trajectory ``selected``, or of the one with the largest change."""
    return {
        "id": what.id,
        "kind": what.kind,
        "request": plain(what.request),
        "result": plain(what.result),
        **_SHOWN[what.kind](what, run, selected, original),
    }


def pane(run: Run, t: Trajectory) -> dict:
    """One trajectory in columns, with a picture of every state and the oracle's labels of its actions."""
    return {
        "id": t.id,
        "group": t.group,
        "rollout": t.rollout,
        "step": t.step,
        "env": t.env,
        "return": finite(t.ret),
        "success": t.success,
        "terminated": t.terminated,
        "truncated": t.truncated,
        "text": texts(t),
        "kind": t.kinds.tolist(),
        "turn": t.turns.tolist(),
        "turns": drawn_turns(run, t),
        "logprob": numbers(t.logprobs),
        "energy": numbers(signal_values(t, "energy")),
    }


def _replay(what: WhatIf, run: Run, selected: str, original: Trajectory | None) -> dict:
    schemes = [row["scheme"] for row in what.result["updates"]]
    changes = {t.id: {s: signal(t, f"{AFTER}:{s}") - signal(t, BEFORE) for s in schemes} for t in what.trajectories}
    summaries = [
        {
            "id": t.id,
            "group": t.group,
            "rollout": t.rollout,
            "return": finite(t.ret),
            "success": t.success,
            "moved": max(float(np.nanmean(np.abs(change))) for change in changes[t.id].values()),
        }
        for t in what.trajectories
    ]
    t = _pick(what, selected if selected in changes else max(summaries, key=lambda row: row["moved"])["id"])
    size = np.concatenate([np.abs(change) for of in changes.values() for change in of.values()])
    top = float(np.percentile(size[np.isfinite(size)], TOP))
    return {
        "trajectories": summaries,
        "top": top,
        "pane": pane(run, t),
        "before": numbers(signal(t, BEFORE)),
        "schemes": {
            s: {
                "after": numbers(signal(t, f"{AFTER}:{s}")),
                "change": numbers(changes[t.id][s]),
                "weight": numbers(signal(t, f"{WEIGHT}:{s}")),
                "advantage": numbers(signal(t, f"{ADVANTAGE}:{s}")),
            }
            for s in schemes
        },
    }


def _branch(what: WhatIf, run: Run, selected: str, original: Trajectory | None) -> dict:
    ids = [t.id for t in what.trajectories]
    outcome = _pick(what, selected if selected in ids else what.result["tree"][0]["ids"][0])
    return {
        "outcomes": [{"id": t.id, "return": finite(t.ret), "success": t.success} for t in what.trajectories],
        "outcome": pane(run, outcome),
        "original": original and pane(run, original),
    }


def _edit(what: WhatIf, run: Run, selected: str, original: Trajectory | None) -> dict:
    names = [name for name, row in what.result["schemes"].items() if not row["missing"]]
    panes = [
        {
            **pane(run, t),
            "schemes": {
                name: {part: numbers(signal(t, f"{part}:{name}")) for part in ("weight", "credit")} for name in names
            },
        }
        for t in what.trajectories
    ]
    energy = np.concatenate([signal_values(t, "energy") for t in what.trajectories])
    energy = energy[np.isfinite(energy)]
    return {"panes": panes, "range": np.percentile(energy, [1, 99]).tolist() if len(energy) else None}


_SHOWN = {"replay": _replay, "branch": _branch, "edit": _edit}


def motion(what: WhatIf, run: Run, id: str, scheme: str) -> dict:
    """The steps of one update on one trajectory, for the walkthrough."""
    if what.kind != "replay":
        raise ActFocusError(f"{what.id}: the walkthrough needs a replayed update, and this is a {what.kind}")
    row = next((row for row in what.result["updates"] if row["scheme"] == scheme), None)
    return {
        "steps": plain(walkthrough(what, id, scheme)),
        "pane": pane(run, _pick(what, id)),
        "scheme": scheme,
        "params": row["params"],
        "lr": what.result["lr"],
        "update_norm": row["update_norm"],
        "gradient_norm": row["gradient_norm"],
        "trajectories": what.result["trajectories"],
        "tokens": what.result["tokens"],
        "id": what.id,
    }


def _pick(what: WhatIf, id: str) -> Trajectory:
    t = next((t for t in what.trajectories if t.id == id), None)
    if t is None:
        raise ActFocusError(f"{what.id}: has no trajectory {id!r}")
    return t
