"""One evaluation prompt at every evaluated step: the rollout, and the token weights under the run's scheme."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from actfocus_core.credit import Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.policy import Policy, load_policy
from actfocus_core.runs import Run
from actfocus_core.signals import score
from actfocus_core.trajectory import TokenKind, Trajectory
from actfocus_studio.data.columns import Float32Column
from actfocus_studio.data.message import Message
from actfocus_studio.data.schema import Tokens, Turn
from actfocus_studio.data.serialize import finite, played, signal_column, token_columns
from actfocus_studio.pages.train.evaluation import EVALUATION


@lru_cache(1)
def reference(name: str) -> Policy:
    """The frozen reference of a run, which is its initial policy. Loaded on first use."""
    return load_policy(name, device="cpu")


class WeightedTokens(Tokens):
    """Tokens with their weight under the scheme of the run; NaN where it is unknown."""

    weight: Float32Column


class PromptStep(Message):
    """The first rollout of a prompt at an evaluated step."""

    step: int
    id: str
    success: float | None
    """Rate over all rollouts of the prompt."""
    own: bool | None
    """Of this rollout."""
    return_: Annotated[float | None, Field(serialization_alias="return")]
    tokens: WeightedTokens
    turns: list[Turn]
    share: float | None
    """Of its weight on action tokens."""


class PromptOverTime(Message):
    """One evaluation prompt at every evaluated step."""

    prompt: int
    weighted: bool
    """Whether the rollouts have the signals that the scheme needs."""
    steps: list[PromptStep]


def prompt_over_time(path: Path, seed: int) -> PromptOverTime:
    """A prompt of a run's stored evaluation. Raises ActFocusError where it was not evaluated."""
    run = Run.open(path)
    stored = run.evaluation(EVALUATION)
    if stored is None:
        raise ActFocusError(f"{path}: has no evaluation {EVALUATION}")
    return over_time(run, stored, seed)


def over_time(run: Run, stored: Run, seed: int) -> PromptOverTime:
    """The first rollout of an evaluation prompt at every evaluated step, weighted under the run's scheme.

    ``stored``: the run's stored evaluation. The rollouts are scored by the run's reference, and mu and sigma are those
    of these rollouts. Raises ActFocusError where the prompt was not evaluated.
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
    shares = shown["success"].mean().astype(float)
    return PromptOverTime(
        prompt=seed,
        weighted=weights is not None,
        steps=[
            _step(t, int(step), float(share), weights[k] if weights else None)
            for k, (t, (step, share)) in enumerate(zip(trajectories, shares.items()))
        ],
    )


def _step(t: Trajectory, step: int, success: float, weights: np.ndarray | None) -> PromptStep:
    return PromptStep(
        step=step,
        id=t.id,
        success=finite(success),
        own=t.success,
        return_=finite(t.ret),
        tokens=WeightedTokens(**token_columns(t), weight=signal_column(t, weights)),
        turns=played(t),
        share=action_share(t, weights),
    )


def own_weights(run: Run, trajectories: list[Trajectory]) -> list[np.ndarray] | None:
    """Weights under the run's scheme, float32 [T] per trajectory; None where a signal is missing."""
    metadata = run.metadata
    batch = Batch.of(trajectories)
    credit = get_scheme(metadata.scheme or "uniform").compute(batch, **metadata.scheme_params)
    if credit.missing:
        return None
    return np.split((credit.weight * credit.keep).astype(np.float32), np.cumsum([len(t) for t in trajectories])[:-1])


def action_share(trajectory: Trajectory, weights: np.ndarray | None) -> float | None:
    """Share of the trajectory's weight on its action tokens; None where the total is 0 or unknown."""
    if weights is None or not np.nansum(weights) > 0:
        return None
    return float(np.nansum(weights[trajectory.kinds == TokenKind.ACTION]) / np.nansum(weights))
