"""The state in which a replayed step begins: its learner, its trajectories, and whether the update really happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actfocus_core.counterfactual.history import learner_before, selected_rollouts, weights_mover
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.runs.info import Training
from actfocus_core.train import TrainConfig, first_policy, preset
from actfocus_core.train.learner import Learner, Progress
from actfocus_core.trajectory import Trajectory


@dataclass(frozen=True)
class Start:
    """Where an update starts from."""

    learner: Learner
    selected: list[Trajectory]
    step: int
    """number of the update, from 1"""
    happened: bool
    """whether the run took this update; otherwise it is one with a fresh optimiser"""


def stored_start(
    run: Run, step: int, rebuild: bool = False, device: str | None = None, on_progress: Progress | None = None
) -> Start:
    """The start of a step of a training run. Arguments and errors as of ``history.learner_before``."""
    if not isinstance(run.metadata.config, Training):
        raise ActFocusError(
            f"{run.path}: was not trained, so there is no update to replay; --fresh takes one with the "
            "run's own model and a fresh optimiser"
        )
    learner = learner_before(run, step, rebuild, device, on_progress)
    return Start(learner, selected_rollouts(run, step, learner.config), step, happened=True)


def fresh_start(
    run: Run,
    step: int,
    groups: Sequence[str] | None = None,
    settings: dict[str, Any] | None = None,
    device: str | None = None,
    on_progress: Progress | None = None,
) -> Start:
    """The start of a first GRPO update of the run's own model on the rollouts of a step.

    ``groups``: their names, by default the first of the step, as many as a training step has. ``settings``: fields of the
    training config. Raises ActFocusError for a training run, weights that were moved before the step, or an unknown group.
    """
    metadata = run.metadata
    if isinstance(metadata.config, Training):
        raise ActFocusError(f"{run.path}: was trained, so its own updates can be replayed; omit --fresh")
    if step not in run.steps():
        raise ActFocusError(f"{run.path}: has no trajectories of step {step}; it has {run.steps()}")
    if metadata.updates_before(step):
        # Step 1 of an evaluation is after an update, step 1 of a training before.
        first = max(s for s in (0, 1) if not metadata.updates_before(s))
        raise ActFocusError(
            f"{run.path}: step {step} was sampled by weights that {weights_mover(metadata)} had updated, "
            f"which are not in the run folder; its step {first} can be replayed"
        )
    model = metadata.model_name
    if not model:
        raise ActFocusError(f"{run.path}: its run.json names no policy, so there is nothing to update")
    values = preset("quick") if model == "tiny" else {}
    config = TrainConfig.of(
        **{
            **values,
            "env": metadata.env or "",
            "env_options": metadata.env_options or {},
            "model": model,
            "device": device or "auto",
            **(settings or {}),
        }
    )
    if config.algorithm != "grpo":
        raise ActFocusError(f"algorithm={config.algorithm!r}: a fresh replay has no critic; use grpo")
    rollouts = selected_rollouts(run, step, config)
    present = list(dict.fromkeys(t.group for t in rollouts))
    chosen = present[: config.prompts] if groups is None else list(groups)
    unknown = [group for group in chosen if group not in present]
    if unknown or not chosen:
        raise ActFocusError(
            f"{run.path}: step {step} has no group {unknown[0] if unknown else ''!r}; it has {len(present)}, "
            f"the first is {present[0]!r}"
        )
    learner = Learner(config, first_policy(run, config), on_progress)
    # The rollouts of an untrained run are those of step 0; an update is the first at least.
    return Start(learner, [t for t in rollouts if t.group in chosen], 1, happened=False)
