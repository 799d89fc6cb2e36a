"""Evaluation of a policy on the fixed evaluation set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from actfocus_core.outcomes import numbers
from actfocus_core.policy import Policy
from actfocus_core.policy.sampler import Sampler
from actfocus_core.rollout import EVALUATION_SEED, collect
from actfocus_core.stats import success_interval
from actfocus_core.train.metrics import legal, well_formed
from actfocus_core.trajectory import Trajectory


def evaluate(
    policy: Policy,
    env: str,
    *,
    prompts: int = 32,
    rollouts: int = 16,
    temperature: float = 1.0,
    step: int = 0,
    env_options: dict[str, Any] | None = None,
    batch_size: int = 128,
    sampler: Sampler | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Trajectory]:
    """Rollouts of the prompts EVALUATION_SEED, EVALUATION_SEED + 1, ...: the same prompts in every run.

    The random numbers depend on ``step``, not on the policy (common random numbers). Raises as ``collect`` does.
    """
    seeds = range(EVALUATION_SEED, EVALUATION_SEED + prompts)
    return collect(
        policy,
        env,
        prompts=seeds,
        rollouts=rollouts,
        temperature=temperature,
        seed=EVALUATION_SEED,
        step=step,
        env_options=env_options,
        sampler=sampler,
        batch_size=batch_size,
        on_progress=on_progress,
    )


def summary(trajectories: list[Trajectory]) -> dict[str, float]:
    """Success rate with its interval, mean return, and the fractions of well-formed and of legal turns.

    ``success_low`` and ``success_high`` are the bounds of a 95 % interval. Rollouts of one prompt are not independent, so it is
    computed from the means of the prompts (``stats.success_interval``). It is approximate for few prompts and omitted for one.
    WebShop adds ``purchase``, the fraction of episodes with a purchase, and ``strict_success``, the fraction whose purchase met
    all requirements.
    """
    success = prompt_means(trajectories, numbers(t.success for t in trajectories))
    mean, low, high = success_interval(success)
    result = {
        "success": mean,
        "return": float(prompt_means(trajectories, [t.ret for t in trajectories]).mean()),
        "well_formed": well_formed(trajectories),
        "legal": legal(trajectories),
        "trajectories": len(trajectories),
    }
    if len(success) > 1:
        result |= {"success_low": low, "success_high": high}
    if trajectories[0].env == "webshop":
        # A WebShop episode terminates exactly when something is bought.
        result |= {"purchase": float(np.mean([t.terminated for t in trajectories])), "strict_success": mean}
    return result


def prompt_means(trajectories: list[Trajectory], values: Iterable[float]) -> np.ndarray:
    """Means over the trajectories of each prompt of one number per trajectory, in the order of the prompts."""
    groups: dict[str, list[float]] = {}
    for t, value in zip(trajectories, values):
        groups.setdefault(t.group, []).append(value)
    return np.array([np.mean(g) for g in groups.values()])


def label(temperature: float) -> str:
    """A temperature as it appears in the name of a metric: t0.5, t1."""
    return f"t{temperature:g}"
