"""One evaluation prompt at every evaluated step: the rollout, and the token weights under the run's scheme."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from actfocus_core.credit import Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.policy import Policy, load_policy
from actfocus_core.runs import Run
from actfocus_core.signals import score
from actfocus_core.trajectory import TokenKind
from actfocus_studio.data.serialize import finite, numbers, played, texts


@lru_cache(1)
def reference(name: str) -> Policy:
    """The frozen reference of a run, which is its initial policy. Loaded on first use."""
    return load_policy(name, device="cpu")


def over_time(run: Run, stored: Run, seed: int) -> dict:
    """The first rollout of an evaluation prompt at every evaluated step, weighted under the run's scheme.

    ``stored``: the run's stored evaluation. The rollouts are scored by the run's reference, and mu and sigma are those
    of these rollouts. ``weight`` is None where the scheme needs signals that they do not have. Raises ActFocusError
    where the prompt was not evaluated.
    """
    rows = stored.index()
    rows = rows[rows["seed"] == seed].sort_values(["step", "rollout"])
    if rows.empty:
        raise ActFocusError(f"{stored.path}: has no evaluation of the prompt {seed}")
    shown = rows.groupby("step", sort=True)
    scored_by = run.metadata.reference
    if scored_by is None:
        raise ActFocusError(f"{run.path}: its run.json names no model, so nothing can score the evaluation")
    trajectories = score([stored.trajectory(id) for id in shown["id"].first()], reference(scored_by))
    weights = own_weights(run, trajectories)
    return {
        "prompt": seed,
        "weighted": weights is not None,
        "steps": [
            {
                "step": int(step),
                "id": t.id,
                "success": finite(float(share)),
                "own": t.success,
                "return": finite(t.ret),
                "text": texts(t),
                "kind": t.kinds.tolist(),
                "turn": t.turns.tolist(),
                "turns": played(t),
                "weight": numbers(weights[k]) if weights else None,
                "share": action_share(t, weights[k] if weights else None),
            }
            for k, (t, (step, share)) in enumerate(zip(trajectories, shown["success"].mean().astype(float).items()))
        ],
    }


def own_weights(run: Run, trajectories: list) -> list[np.ndarray] | None:
    """Weights under the run's scheme, float32 [T] per trajectory; None where a signal is missing."""
    metadata = run.metadata
    batch = Batch.of(trajectories)
    credit = get_scheme(metadata.scheme or "uniform").compute(batch, **metadata.scheme_params)
    if credit.missing:
        return None
    return np.split((credit.weight * credit.keep).astype(np.float32), np.cumsum([len(t) for t in trajectories])[:-1])


def action_share(trajectory, weights: np.ndarray | None) -> float | None:
    """Share of the trajectory's weight on its action tokens; None where the total is 0 or unknown."""
    if weights is None or not np.nansum(weights) > 0:
        return None
    return float(np.nansum(weights[trajectory.kinds == TokenKind.ACTION]) / np.nansum(weights))
