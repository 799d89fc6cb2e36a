"""The learner as it was before a step of a run, from the checkpoints and the rollouts the run kept.

A step k is made from the checkpoint of step k - 1; step 1 from the model the run began with. Where
that checkpoint was deleted the steps since the last one that is kept can be done again from their
stored rollouts: a run repeats itself (CPU, same number of threads), so this is the same policy.
"""

from __future__ import annotations

from actfocus_core.errors import ActFocusError
from actfocus_core.policy import Policy
from actfocus_core.runs import Run, slug
from actfocus_core.runs.info import External, RunInfo, Training
from actfocus_core.train import config_of, first_policy
from actfocus_core.train.checkpoint import checkpoints, load_checkpoint
from actfocus_core.train.config import TrainConfig
from actfocus_core.train.groups import keep_groups
from actfocus_core.train.grpo import prepare_grpo, update_grpo
from actfocus_core.train.learner import Learner, Progress
from actfocus_core.train.ppo import prepare_ppo, update_ppo
from actfocus_core.trajectory import Trajectory

PREPARE = {"grpo": prepare_grpo, "ppo": prepare_ppo}
UPDATE = {"grpo": update_grpo, "ppo": update_ppo}


def replayable(run: Run) -> list[int]:
    """The steps whose rollouts and whose checkpoint before are kept: they can be taken again at once."""
    kept = {0, *checkpoints(run.path / "checkpoints")}
    return [step for step in run.steps() if step - 1 in kept]


def learner_before(
    run: Run, step: int, rebuild: bool = False, device: str | None = None, on_progress: Progress | None = None
) -> Learner:
    """The learner with which a step began.

    ``device``: instead of the run's. ``rebuild``: steps without a checkpoint are done again from their rollouts, up to this one. Raises
    ActFocusError where that is needed and was not asked for, a step's rollouts are not stored, or
    the run is no training run.
    """
    config = config_of(run)
    config = config.model_copy(update={"device": device or config.device})
    last = max([s for s in checkpoints(run.path / "checkpoints") if s < step], default=0)
    missing = [s for s in range(last + 1, step + 1) if s not in run.steps()]
    if step < 1 or missing:
        raise ActFocusError(
            f"{run.path}: the rollouts of step {missing[0] if missing else step} are not stored; "
            f"there are {_ranges(run.steps())}"
        )
    if last < step - 1 and not rebuild:
        raise ActFocusError(
            f"{run.path}: the checkpoint of step {step - 1} is not kept, so step {step} cannot be replayed at once; "
            f"there are {_ranges(replayable(run))}; --rebuild does the {step - 1 - last} steps since "
            f"{f'checkpoint {last}' if last else 'the beginning'} again, and a run trained with "
            f"--set checkpoints_kept={config.steps} keeps all"
        )
    learner = Learner(config, first_policy(run, config), on_progress)
    if last:
        tensors, _ = load_checkpoint(run.path / "checkpoints", last, list(learner.parts()))
        learner.take_up(tensors)
    for again in range(last + 1, step):
        made = PREPARE[config.algorithm](learner, kept_rollouts(run, again, config))
        with learner.updating():
            UPDATE[config.algorithm](learner, made, again)
        learner.progress("rebuild", again - last, step - 1 - last)
    learner.step = step - 1
    return learner


def policy_before(run: Run, step: int, rebuild: bool = False, device: str | None = None) -> Policy:
    """The policy that sampled a step: of a training run see ``learner_before``, else the run's own.

    Raises ActFocusError where it cannot be had any more.
    """
    metadata = run.metadata
    if isinstance(metadata.config, Training):
        trained = learner_before(run, step, rebuild, device).player
        # A policy of its own: the learner's knows the fingerprint it began with.
        return Policy(trained.name, trained.model.requires_grad_(False), trained.tokenizer, trained.env_options)
    if metadata.updates_before(step):
        raise ActFocusError(
            f"{run.path}: step {step} was sampled by weights that {mover(metadata)} had moved; "
            "they are not in the run folder, name them"
        )
    if not metadata.model_name:
        raise ActFocusError(f"{run.path}: its run.json names no policy; name one that shares its tokenizer")
    return first_policy(run, TrainConfig.of(model=metadata.model_name, device=device or "auto"))


def mover(metadata: RunInfo) -> str:
    """What moved the weights of a run that has none of them itself."""
    config = metadata.config
    return f"another trainer ({config.command})" if isinstance(config, External) else "training"


def kept_rollouts(run: Run, step: int, config: TrainConfig) -> list[Trajectory]:
    """The trajectories a step was trained on, with the signals of the run's own reference or none."""
    own = slug(config.model) in run.references(step)
    trajectories = run.trajectories(step, config.model if own else None)
    if not own:
        for t in trajectories:
            t.signals = {name: values for name, values in t.signals.items() if not name.startswith("ref_")}
    return keep_groups(trajectories, config.filter_share)


def _ranges(steps: list[int]) -> str:
    """1 to 4, 9."""
    starts = [s for s in steps if s - 1 not in steps]
    ends = [s for s in steps if s + 1 not in steps]
    return "steps " + ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in zip(starts, ends)) if steps else "none"
