"""Oracle values of a run's steps: computed once, stored as annotations, reused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from actfocus_core.analysis.validate.rules import MEAN_DRIFT
from actfocus_core.envs import make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle.values import add_answers, add_optimal, add_policy
from actfocus_core.policy import Policy
from actfocus_core.policy.loading import trained_options
from actfocus_core.runs import Run
from actfocus_core.train.config import TrainConfig
from actfocus_core.trajectory import Trajectory

CHECKED = 8
"""Number of trajectories whose log-probs are recomputed to check whether a policy sampled them."""
DEFAULT_ROLLOUTS = 16

Show = Callable[[str], Callable[[int, int], None]]
"""phase -> on_progress(done, total)"""


def env_options(run: Run) -> dict[str, Any]:
    """All options of a run's environment.

    Training stores only the options that differ from those of its model. Raises ActFocusError if the run does not state
    its environment and options.
    """
    metadata = run.metadata
    env, stored_options = metadata.env, metadata.env_options
    if env is None or stored_options is None:
        raise ActFocusError(
            f"{run.path}: does not state its environment and the options of it; only "
            "rollouts of this product can be judged"
        )
    model_options = {}
    if metadata.config.adds_to_model_options:
        model_options = trained_options(metadata.model_name or TrainConfig.model_fields["model"].default).get(env, {})
    return make_env(env, **{**model_options, **stored_options}).options.model_dump(mode="json")


def policy_name(run: Run) -> str:
    """The name of the run's model, as for ``load_policy``. Raises ActFocusError if the run does not state it."""
    name = run.metadata.model_name
    if not name:
        raise ActFocusError(
            f"{run.path}: does not state which model sampled it; give it with --policy, or omit the "
            "policy's values with --no-policy"
        )
    return name


def require_unchanged_policy(run: Run, step: int, policy: Policy) -> None:
    """Raise ActFocusError if the present weights of a run's model did not sample a step.

    They did not if they have changed since the run was created, or if training had updated them before this step.
    """
    if updates := run.metadata.updates_before(step):
        raise ActFocusError(
            f"{run.path}: step {step} was sampled by weights that differ from {policy.name} by {updates} training "
            "steps; give those weights with --policy, or omit the policy's values with --no-policy"
        )
    recorded = run.metadata.fingerprint
    if recorded and recorded != policy.fingerprint:
        raise ActFocusError(
            f"{run.path}: was sampled by {policy.name} with the fingerprint {recorded}; {policy.name} is now "
            f"{policy.fingerprint}, another policy. Give the weights that sampled the run with --policy, "
            "or omit the policy's values with --no-policy"
        )


def require_sampled_by(run: Run, step: int, trajectories: list[Trajectory], policy: Policy) -> None:
    """Raise ActFocusError if the policy's log-probs of a step's sampled tokens differ from the recorded ones."""
    from actfocus_core.signals import score

    sample = [replace(t, signals={}, alternatives=None) for t in trajectories[:: -(-len(trajectories) // CHECKED)]]
    score(sample, policy)
    differences = np.concatenate([np.abs(t.logprobs - t.signals["ref_logprob"]) for t in sample])
    drift = float(np.nanmean(differences)) if np.isfinite(differences).any() else 0.0
    if drift > MEAN_DRIFT:
        raise ActFocusError(
            f"{run.path}: step {step} was not sampled by {policy.name}: its log-probs differ by {drift:.2f} "
            "nats a token (training changes the weights every step). Give the weights that sampled it with "
            "--policy, or omit the policy's values with --no-policy"
        )


def ensure_optimal(run: Run, step: int, trajectories: list[Trajectory], show: Show, again: bool = False) -> None:
    """Add the values of perfect play to the trajectories of a step, and store them in the run if they are missing.

    ``again``: compute and store them even if they exist.
    """
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
    """Add the policy's values to the trajectories of a step and to the run; returns their provenance.

    ``policy``: called if the policy is needed. ``rollouts``: None means the stored number, or DEFAULT_ROLLOUTS. ``named``:
    the user named the policy, so stored values must be those of this policy. Raises ActFocusError if the stored values
    have another number of rollouts or another policy, or if the policy did not sample the trajectories.
    """
    if not again and step in run.annotated_steps("oracle-policy"):
        provenance = run.annotation_metadata(step, "oracle-policy")
        if rollouts is not None and provenance.get("rollouts") != rollouts:
            raise ActFocusError(
                f"{run.path}: step {step} has values of {provenance.get('rollouts')} rollouts, not of {rollouts}; "
                "--recompute replaces them"
            )
        if named and provenance.get("fingerprint") != policy().fingerprint:
            raise ActFocusError(
                f"{run.path}: step {step} has values of {provenance.get('policy')}, fingerprint "
                f"{provenance.get('fingerprint')}; {policy().name} is {policy().fingerprint}. --recompute replaces them"
            )
        return provenance
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
    provenance = {
        "policy": loaded.name,
        "fingerprint": loaded.fingerprint,
        "rollouts": rollouts,
        "temperature": temperature,
        "seed": seed,
    }
    run.annotate(step, "oracle-policy", trajectories, provenance)
    return provenance


def ensure_answers(
    run: Run, step: int, trajectories: list[Trajectory], policy: Callable[[], Policy], show: Show, again: bool = False
) -> None:
    """Add the log-probs of the solutions to the trajectories of a step and to the run.

    Raises ActFocusError if the policy did not sample the trajectories.
    """
    if again or step not in run.annotated_steps("oracle-answers"):
        loaded = policy()
        require_sampled_by(run, step, trajectories, loaded)
        add_answers(trajectories, loaded, env_options=env_options(run), on_progress=show(f"answers {step}"))
        run.annotate(step, "oracle-answers", trajectories, {"policy": loaded.name, "fingerprint": loaded.fingerprint})
