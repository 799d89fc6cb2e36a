"""A walkthrough of one replayed update on one trajectory, read from a stored replay; no model is needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.counterfactual.store import WhatIf, signal
from actfocus_core.credit.weights import sigmoid
from actfocus_core.errors import ActFocusError
from actfocus_core.signals import signal_values
from actfocus_core.trajectory import TokenKind

BEFORE, AFTER, WEIGHT, ADVANTAGE = "logprob_before", "logprob_after", "weight", "advantage"
"""Signals of the trajectories of a replay; all but the first are followed by ``:SCHEME``."""


def walkthrough(replayed: WhatIf, id: str, scheme: str) -> dict[str, Any]:
    """The numbers of one update on one trajectory, stage by stage.

    Lists are over the trajectory's T tokens, None outside the responses. ``rollout``: texts, kinds, turns, log-probs;
    ``rewards``: a row per turn, the return, and the returns of the group; ``advantages``; ``energies``: the signal, if the
    scheme reads one; ``z``: (signal - mean) / std on action tokens, with mean, std and the number of action tokens of
    the batch; ``weights``, with the sigmoid part of each action token's weight; ``loss``: -w A / Z, the token's term at
    ratio 1, and Z; ``mass``: |w A| as a fraction of the batch's sum; ``logprobs``: before, after and the change. Raises
    ActFocusError for a trajectory or a scheme that is not in the replay.
    """
    by_id = {t.id: t for t in replayed.trajectories}
    rows = {row["scheme"]: row for row in replayed.result["updates"]}
    if id not in by_id:
        raise ActFocusError(f"{replayed.id}: trajectory {id!r} was not in the update; {len(by_id)} others were")
    if scheme not in rows:
        raise ActFocusError(f"{replayed.id}: has no scheme {scheme!r}; it has {', '.join(rows)}")
    t, row = by_id[id], rows[scheme]
    weight, advantage = (signal(t, f"{name}:{scheme}") for name in (WEIGHT, ADVANTAGE))
    before, after = signal(t, BEFORE), signal(t, f"{AFTER}:{scheme}")
    if id not in row["divisors"]:
        raise ActFocusError(f"{replayed.id}: has no divisor for trajectory {id!r}; it was stored incompletely")
    divisor = row["divisors"][id]
    magnitude = np.abs(weight * advantage)
    total = sum(
        float(np.nansum(np.abs(signal(o, f"{WEIGHT}:{scheme}") * signal(o, f"{ADVANTAGE}:{scheme}"))))
        for o in by_id.values()
    )
    group = [o for o in by_id.values() if o.group == t.group]
    steps: dict[str, dict[str, Any] | None] = {
        "rollout": {"texts": t.texts, "kinds": t.kinds, "turns": t.turns, "logprobs": t.logprobs},
        "rewards": {
            "turns": [{"actions": r.actions, "reward": r.reward, "penalty": r.penalty} for r in t.turn_records],
            "return": t.ret,
            "group": {o.id: o.ret for o in group},
        },
        "advantages": {"values": advantage},
        "energies": None,
        "z": None,
        "weights": {"values": weight},
        "loss": {"values": -weight * advantage / divisor, "divisor": divisor, "ratio": 1.0},
        "mass": {"values": magnitude / total if total else magnitude, "total": total},
        "logprobs": {"before": before, "after": after, "change": after - before},
    }
    if row["signal"]:
        stats = row["signal"]
        values = signal_values(t, stats["name"])
        z = np.where(t.kinds == TokenKind.ACTION, (values - stats["mean"]) / stats["std"], np.float32(np.nan))
        steps |= {
            "energies": {"signal": stats["name"], "values": values},
            "z": {"values": z, **{name: stats[name] for name in ("mean", "std", "count")}},
            "weights": {"values": weight, "sigmoid": sigmoid(z)},
        }
    return {name: {k: _listed(v) for k, v in content.items()} if content else None for name, content in steps.items()}


def _listed(value: object) -> object:
    if not isinstance(value, np.ndarray):
        return value
    return [None if isinstance(v, float) and not np.isfinite(v) else v for v in value.tolist()]
