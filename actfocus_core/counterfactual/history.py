"""The state of training before a step of a run, restored from its checkpoints and stored rollouts.

Step k starts from the checkpoint of step k - 1, step 1 from the initial model. Where that checkpoint was deleted, the
steps since the last checkpoint can be repeated from their stored rollouts: training is deterministic (CPU, same number of
threads), so this gives the same policy.
"""

from __future__ import annotations

from actfocus_core.errors import ActFocusError
from actfocus_core.policy import Policy
from actfocus_core.runs import Run, slug
from actfocus_core.runs.info import External, RunInfo, Training
from actfocus_core.train import config_of, first_policy
from actfocus_core.train.algorithms import ALGORITHMS
from actfocus_core.train.checkpoint import checkpoints, load_checkpoint
from actfocus_core.train.config import TrainConfig
from actfocus_core.train.groups import filter_groups
from actfocus_core.train.learner import Learner, Progress
from actfocus_core.trajectory import Trajectory


def replayable(run: Run) -> list[int]:
    """The steps whose rollouts and preceding checkpoint are stored, so that they can be replayed without a rebuild."""
    stored = {0, *checkpoints(run.path / "checkpoints")}
    return [step for step in run.steps() if step - 1 in stored]


def learner_before(
    run: Run, step: int, rebuild: bool = False, device: str | None = None, on_progress: Progress | None = None
) -> Learner:
    """The learner in its state at the beginning of a step.

    ``device``: in place of the run's. ``rebuild``: repeat the steps since the last checkpoint from their rollouts. Raises
    ActFocusError where a rebuild is needed and not requested, the rollouts of a step are not stored, or the run is not a
    training run.
    """
    config = config_of(run)
    config = config.model_copy(update={"device": device or config.device})
    last = max([s for s in checkpoints(run.path / "checkpoints") if s < step], default=0)
    missing = [s for s in range(last + 1, step + 1) if s not in run.steps()]
    if step < 1 or missing:
        raise ActFocusError(
            f"{run.path}: the rollouts of step {missing[0] if missing else step} are not stored; "
            f"available: {_ranges(run.steps())}"
        )
    if last < step - 1 and not rebuild:
        raise ActFocusError(
            f"{run.path}: the checkpoint of step {step - 1} is not stored, so step {step} cannot be replayed directly; "
            f"available: {_ranges(replayable(run))}; --rebuild repeats the {step - 1 - last} steps since "
            f"{f'checkpoint {last}' if last else 'the beginning'}, and a run trained with "
            f"--set checkpoints_kept={config.steps} keeps all checkpoints"
        )
    learner = Learner(config, first_policy(run, config), on_progress)
    if last:
        state, _ = load_checkpoint(run.path / "checkpoints", last, list(learner.state_dict()))
        learner.load_state_dict(state)
    algorithm = ALGORITHMS[config.algorithm]
    for repeated in range(last + 1, step):
        prepared = algorithm.prepare(learner, selected_rollouts(run, repeated, config))
        with learner.updating():
            algorithm.update(learner, prepared, repeated)
        learner.progress("rebuild", repeated - last, step - 1 - last)
    learner.step = step - 1
    return learner


def policy_before(run: Run, step: int, rebuild: bool = False, device: str | None = None) -> Policy:
    """The policy that sampled a step: for a training run as in ``learner_before``, else the run's model.

    Raises ActFocusError where it is no longer available.
    """
    metadata = run.metadata
    if isinstance(metadata.config, Training):
        trained = learner_before(run, step, rebuild, device).rollout_policy
        # A new object, since the learner's policy caches the fingerprint of the initial weights.
        return Policy(trained.name, trained.model.requires_grad_(False), trained.tokenizer, trained.env_options)
    if metadata.updates_before(step):
        raise ActFocusError(
            f"{run.path}: step {step} was sampled by weights that {weights_mover(metadata)} had updated; "
            "they are not in the run folder: name a policy with these weights"
        )
    if not metadata.model_name:
        raise ActFocusError(f"{run.path}: its run.json names no policy; name one that shares its tokenizer")
    return first_policy(run, TrainConfig.of(model=metadata.model_name, device=device or "auto"))


def weights_mover(metadata: RunInfo) -> str:
    """What updated the weights of a run whose folder does not hold them."""
    config = metadata.config
    return f"another trainer ({config.command})" if isinstance(config, External) else "training"


def selected_rollouts(run: Run, step: int, config: TrainConfig) -> list[Trajectory]:
    """The trajectories a step was trained on, with the signals of the run's own reference, or without reference signals."""
    scored = slug(config.model) in run.references(step)
    trajectories = run.trajectories(step, config.model if scored else None)
    if not scored:
        for t in trajectories:
            t.signals = {name: values for name, values in t.signals.items() if not name.startswith("ref_")}
    return filter_groups(trajectories, config.keep_fraction)


def _ranges(steps: list[int]) -> str:
    """Steps as text: 1 to 4, 9."""
    starts = [s for s in steps if s - 1 not in steps]
    ends = [s for s in steps if s + 1 not in steps]
    return "steps " + ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in zip(starts, ends)) if steps else "none"
