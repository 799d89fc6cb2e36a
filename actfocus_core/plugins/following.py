"""A run folder that another trainer fills, so that the studio follows it as it follows a local run."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from actfocus_core.credit import Batch, get_scheme
from actfocus_core.runs import Run
from actfocus_core.train import metrics as names
from actfocus_core.train.control import requested, the_only_trainer, write_status
from actfocus_core.trajectory import Trajectory

OURS = {"loss": "loss/policy", "grad_norm": "grad/norm", "learning_rate": "grad/lr", "clip_ratio/low_mean": "clip/low",
        "clip_ratio/high_mean": "clip/high", "kl": "kl/reference"}
"""The names of TRL's logs -> those of metrics.jsonl."""


class RunFolder(TrainerCallback):
    """Writes the folder from the main process; a stop asked for in the studio ends the training after its step."""

    def __init__(self, path: str | Path, config: dict, model: dict):
        self.path, self.config, self.model = Path(path), config, model
        self._open = ExitStack()
        self._row: dict[str, float] = {}

    def on_train_begin(self, args, state, control, **_) -> None:
        if state.is_world_process_zero:
            config = {**self.config, "steps": state.max_steps}
            self.run = Run.open(self.path) if self.path.exists() else Run.create(self.path, config, self.model)
            self._open.enter_context(the_only_trainer(self.path))
            self._tell("running", state)

    def add(self, step: int, trajectories: list[Trajectory], params: dict, reference: str | None) -> None:
        """Store the rollouts of a step (main process); its row of metrics follows when TRL logs the step."""
        if step not in self.run.steps():
            self.run.add_trajectories(step, trajectories)
            if reference is not None:
                self.run.annotate(step, reference, trajectories)
        batch = Batch.of(trajectories)
        self._row = names.of_rollouts(trajectories, trajectories) | names.of_credit(
            batch, get_scheme("actfocus").compute(batch, **params))

    def on_log(self, args, state, control, logs=None, **_) -> None:
        if state.is_world_process_zero and logs and "grad_norm" in logs:
            theirs = {ours: float(logs[name]) for name, ours in OURS.items() if logs.get(name) is not None}
            self.run.log({"step": state.global_step, **self._row, **theirs})

    def on_step_end(self, args, state, control, **_) -> None:
        asked = [requested(self.path) if state.is_world_process_zero else ""]
        if args.world_size > 1:
            broadcast_object_list(asked)
        if asked[0] == "stop":
            control.should_training_stop = True
        if state.is_world_process_zero:
            self._tell("running", state)

    def on_train_end(self, args, state, control, **_) -> None:
        if state.is_world_process_zero:
            self._tell("finished" if state.global_step >= state.max_steps else "stopped", state)
            self._open.close()

    def _tell(self, word: str, state) -> None:
        write_status(self.path, state=word, step=state.global_step, steps=state.max_steps, phase="", message="",
                     elapsed=0.0, time_budget=None)
