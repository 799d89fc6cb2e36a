"""The truth of a run's steps: made once, kept as annotations, reused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from actfocus_core.analysis.validate import DRIFT
from actfocus_core.envs import make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle.values import add_answers, add_optimal, add_policy
from actfocus_core.policy import Policy
from actfocus_core.policy.loading import trained_options
from actfocus_core.runs import Run
from actfocus_core.train.config import TrainConfig
from actfocus_core.trajectory import Trajectory

CHECKED = 8
"""Trajectories whose log-probs are made again, to see whether a policy sampled them."""
DEFAULT_ROLLOUTS = 16

Show = Callable[[str], Callable[[int, int], None]]
"""phase -> on_progress(done, total)"""


def env_options(run: Run) -> dict[str, Any]:
    """All options of the environment a run was played in.

    Training stores only those that differ from its model's own. Raises ActFocusError where the run
    does not say what was played.
    """
    metadata = run.metadata
    env, given = metadata.env, metadata.env_options
    if env is None or given is None:
        raise ActFocusError(
            f"{run.path}: does not say in which environment, with which options, it was played; only "
            "rollouts of this product can be judged"
        )
    own = {}
    if metadata.config.adds_to_model_options:
        own = trained_options(metadata.model_name or TrainConfig.model_fields["model"].default).get(env, {})
    return make_env(env, **{**own, **given}).options.model_dump(mode="json")


def policy_name(run: Run) -> str:
    """What ``load_policy`` knows the run's own model by. Raises ActFocusError where the run does not say."""
    name = run.metadata.model_name
    if not name:
        raise ActFocusError(
            f"{run.path}: does not say which model sampled it; name it by --policy, or leave the "
            "policy's values away by --no-policy"
        )
    return name


def require_unchanged_policy(run: Run, step: int, policy: Policy) -> None:
    """Raises ActFocusError where a run's own model, as it is now, is not what sampled a step: its weights have
    changed since the run was made, or training had moved them before this step."""
    if moved := run.metadata.updates_before(step):
        raise ActFocusError(
            f"{run.path}: step {step} was sampled by weights that {moved} training steps had moved from "
            f"{policy.name}; name them by --policy, or leave the policy's values away by --no-policy"
        )
    recorded = run.metadata.fingerprint
    if recorded and recorded != policy.fingerprint:
        raise ActFocusError(
            f"{run.path}: was sampled by {policy.name} with the fingerprint {recorded}; {policy.name} is now "
            f"{policy.fingerprint}. Its values would be another policy's: name the weights by --policy, "
            "or leave them away by --no-policy"
        )


def require_sampled_by(run: Run, step: int, trajectories: list[Trajectory], policy: Policy) -> None:
    """Raises ActFocusError where a policy gives a step's sampled tokens other log-probs than were recorded."""
    from actfocus_core.signals import score

    some = [replace(t, signals={}, alternatives=None) for t in trajectories[:: -(-len(trajectories) // CHECKED)]]
    score(some, policy)
    apart = np.concatenate([np.abs(t.logprobs - t.signals["ref_logprob"]) for t in some])
    drift = float(np.nanmean(apart)) if np.isfinite(apart).any() else 0.0
    if drift > DRIFT:
        raise ActFocusError(
            f"{run.path}: step {step} was not sampled by {policy.name}: its log-probs differ by {drift:.2f} "
            "nats a token (training moves the weights every step). Name the weights that did by "
            "--policy, or leave the policy's values away by --no-policy"
        )


def ensure_optimal(run: Run, step: int, trajectories: list[Trajectory], show: Show, again: bool = False) -> None:
    """Have the values of perfect play on these trajectories, which are the step's, and in the run."""
    if again or step not in run.annotated_steps("oracle-optimal"):
        add_optimal(trajectories, env_options(run), show(f"optimum {step}"))
        run.annotate(step, "oracle-optimal", trajectories, {"exact": True})


def ensure_policy(
    run: Run,
    step: int,
    trajectories: list[Trajectory],
    policy: Callable[[], Policy],
    show: Show,
    rollouts: int | None = None,
    seed: int = 0,
    again: bool = False,
    named: bool = False,
) -> dict[str, Any]:
    """Have the policy's values on these trajectories and in the run; returns how they were made.

    ``policy``: gives it where it is needed. ``rollouts``: None takes DEFAULT_ROLLOUTS, or what is
    stored. ``named``: the policy was asked for by name, so the stored ones must be its own. Raises
    ActFocusError where the stored ones have another number or policy, or the policy did not sample
    these trajectories.
    """
    if not again and step in run.annotated_steps("oracle-policy"):
        made = run.made(step, "oracle-policy")
        if rollouts is not None and made.get("rollouts") != rollouts:
            raise ActFocusError(
                f"{run.path}: step {step} has values of {made.get('rollouts')} rollouts, not of {rollouts}; "
                "--again replaces them"
            )
        if named and made.get("fingerprint") != policy().fingerprint:
            raise ActFocusError(
                f"{run.path}: step {step} has values of {made.get('policy')}, fingerprint "
                f"{made.get('fingerprint')}; {policy().name} is {policy().fingerprint}. --again replaces them"
            )
        return made
    loaded = policy()
    require_sampled_by(run, step, trajectories, loaded)
    temperature = run.metadata.temperature
    rollouts = DEFAULT_ROLLOUTS if rollouts is None else rollouts
    add_policy(
        trajectories,
        loaded,
        rollouts,
        env_options=env_options(run),
        temperature=temperature,
        seed=seed,
        on_progress=show(f"policy {step}"),
    )
    made = {
        "policy": loaded.name,
        "fingerprint": loaded.fingerprint,
        "rollouts": rollouts,
        "temperature": temperature,
        "seed": seed,
    }
    run.annotate(step, "oracle-policy", trajectories, made)
    return made


def ensure_answers(
    run: Run, step: int, trajectories: list[Trajectory], policy: Callable[[], Policy], show: Show, again: bool = False
) -> None:
    """Have the log-probs of the solutions on these trajectories and in the run. Raises as ``ensure_policy``."""
    if again or step not in run.annotated_steps("oracle-answers"):
        loaded = policy()
        require_sampled_by(run, step, trajectories, loaded)
        add_answers(trajectories, loaded, env_options=env_options(run), on_progress=show(f"answers {step}"))
        run.annotate(step, "oracle-answers", trajectories, {"policy": loaded.name, "fingerprint": loaded.fingerprint})
