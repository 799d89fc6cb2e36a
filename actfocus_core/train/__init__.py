"""Training: GRPO and PPO with any credit scheme. ``train`` begins a run, ``resume`` continues one.

Importing this package does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from actfocus_core.errors import ActFocusError, out_of_memory
from actfocus_core.runs import Run
from actfocus_core.runs.info import Training
from actfocus_core.train.config import TrainConfig
from actfocus_core.train.control import clear, read_status, request, training_lock
from actfocus_core.train.presets import PRESETS, preset

if TYPE_CHECKING:
    from actfocus_core.policy import Policy
    from actfocus_core.train.session import Session

__all__ = ["PRESETS", "TrainConfig", "config_of", "first_policy", "preset", "read_status", "request", "resume", "train"]

Progress = Callable[[str, int, int], None]
"""phase, done, total"""


def train(config: TrainConfig, out: str | Path, on_progress: Progress | None = None) -> Run:
    """Train in the new folder ``out`` until the steps or the time budget of the config are spent.

    The folder can be read while it grows: metrics.jsonl, trajectories/, status.json. ``request(out, "stop")`` or SIGINT
    ends the run after the current step, and ``resume`` continues it. The trained policy is ``out/policy``, an ordinary
    Hugging Face folder. Raises ActFocusError for an invalid config before anything is written, and where training cannot
    continue (a gradient that is not finite, a full disk); the last checkpoint is then kept.
    """
    out = Path(out)
    if out.exists():
        raise ActFocusError(f"{out}: already exists; choose another name for the run")
    _check_memory(config)
    policy = _policy(config)
    if Path(config.model).is_dir():
        config = config.model_copy(update={"model": str(Path(config.model).resolve())})
    _check(config, policy)
    run = Run.create(
        out,
        {"command": "train", **config.as_stored()},
        {"name": policy.name, "fingerprint": policy.fingerprint},
    )
    return _work(config, policy, run, on_progress)


def resume(
    path: str | Path,
    steps: int | None = None,
    time_budget: float | None = None,
    on_progress: Progress | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> Run:
    """Continue a run that was stopped or killed; the result equals that of a run that was never interrupted.

    ``steps``, ``time_budget``: in place of the stored ones. Training continues from the newest whole checkpoint, or from
    an older one if a later step lacks its rollouts, signals or metrics. ``on_warning`` is called with a line for each
    checkpoint that is skipped and for everything that is missing; status.json has the same lines. Raises ActFocusError
    where the folder is not a training run, the initial model has changed, the run is finished already, or it does not
    fit this device.
    """
    run = Run.open(path)
    changes = {k: v for k, v in (("steps", steps), ("time_budget", time_budget)) if v is not None}
    config = TrainConfig.of(**{**config_of(run).model_dump(), **changes})
    if not changes and read_status(run.path).get("state") == "finished":
        raise ActFocusError(f"{run.path}: is finished; increase steps or time_budget to continue training")
    _check_memory(config)
    return _work(config, first_policy(run, config), run, on_progress, on_warning)


def config_of(run: Run) -> TrainConfig:
    """The config of a training run. Raises ActFocusError for any other run."""
    metadata = run.metadata
    if not isinstance(metadata.config, Training):
        raise ActFocusError(f"{run.path}: is not a training run; `actfocus train --out` begins one")
    return TrainConfig.of(**{k: v for k, v in metadata.config_as_written.items() if k != "command"})


def first_policy(run: Run, config: TrainConfig) -> Policy:
    """The initial policy of a run. Raises ActFocusError if the model has changed since."""
    policy = _policy(config)
    if policy.fingerprint != run.metadata.fingerprint:
        raise ActFocusError(
            f"{config.model}: is no longer the model this run began with "
            f"(fingerprint {policy.fingerprint}, not {run.metadata.fingerprint})"
        )
    return policy


def _policy(config: TrainConfig) -> Policy:
    from actfocus_core.policy import load_policy

    # Parameters are trained in float32; on a GPU the arithmetic is bfloat16 (update.autocast).
    return load_policy(config.model, config.device, "float32")


def _check_memory(config: TrainConfig) -> None:
    """Raise ActFocusError where the run cannot fit the device; no weight is read."""
    import psutil
    import torch

    from actfocus_core.policy.loading import load_config, resolve_device
    from actfocus_core.train.sizing.memory import Shape, check_memory
    from actfocus_core.train.update import uses_bf16

    device = torch.device(resolve_device(config.device))
    loaded = load_config(config.model)
    if not hasattr(loaded.get_text_config(), "intermediate_size"):
        return  # Memory is computed for models of the Llama and Qwen2 kind only.
    shape = Shape.of(loaded)
    available, total = (
        torch.cuda.mem_get_info(device) if device.type == "cuda" else (psutil.virtual_memory().available, 0)
    )
    check_memory(config, shape, uses_bf16(config.precision, device), available, total)


def _check(config: TrainConfig, policy: Policy) -> None:
    """Raise ActFocusError for an invalid option of the environment or the scheme, or a missing extra."""
    import numpy as np

    from actfocus_core.credit import Batch, get_scheme
    from actfocus_core.envs import make_env
    from actfocus_core.extras import require
    from actfocus_core.train.tracking import require_trackers
    from actfocus_core.trajectory import Trajectory

    require_trackers(config.track)
    if config.sampler == "vllm":
        require("vllm", "vllm")
    if config.lora_rank:
        require("peft", "lora")
    make_env(config.env, **{**policy.env_options.get(config.env, {}), **config.env_options})
    scheme = get_scheme(config.scheme)
    none = np.zeros(3)
    sample = Trajectory("sample", none, np.array([3, 4, 5]), none, none, ["", "", ""], group="sample")
    scheme.compute(Batch.of([sample]), **config.scheme_params)


def _work(
    config: TrainConfig,
    policy: Policy,
    run: Run,
    on_progress: Progress | None,
    on_warning: Callable[[str], None] | None = None,
) -> Run:
    from actfocus_core.train.algorithms import ALGORITHMS
    from actfocus_core.train.session import Session

    session = None
    try:
        with training_lock(run.path):
            clear(run.path)
            session = Session(config, policy, run, on_progress, on_warning)
            with session.interrupt.listening():
                session.begin()
                ALGORITHMS[config.algorithm].loop(session)
                session.end()
        return run
    except OSError as error:
        name = f"{Path(error.filename).name}: " if error.filename else ""
        raise _failed(session, run, f"cannot be written ({name}{error.strerror or error})") from None
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise _failed(
            session,
            run,
            f"out of memory; reduce micro_tokens below {config.micro_tokens}, or set "
            "gradient_checkpointing or lora_rank",
        ) from None
    except ActFocusError as error:
        raise (_failed(session, run, str(error)) if session else error) from None


def _failed(session: Session | None, run: Run, reason: str) -> ActFocusError:
    """Write the status ``failed`` and return the error to raise, which names the checkpoint to resume from."""
    from actfocus_core.train.checkpoint import whole_checkpoints

    kept, defects = whole_checkpoints(
        run.path / "checkpoints", list(session.learner.state_dict()) if session else ["policy", "policy-adam"]
    )
    if kept:
        advice = f"`actfocus train --resume` continues from the checkpoint of step {kept[-1]}"
    else:
        advice = (
            "no checkpoint is whole, `actfocus train --resume` starts again at step 0"
            if defects
            else "there is no checkpoint yet"
        )
    try:
        if session:
            session.message = reason
            session.write_status("failed")
    except OSError:
        pass  # A full or missing disk cannot store the status either.
    return ActFocusError(f"{run.path}: {reason}; {advice}")
