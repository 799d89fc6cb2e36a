"""A TRL callback that mirrors training progress to a run folder."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from actfocus_core.plugins.mirror import RunMirror
from actfocus_core.train.control import PAUSE_POLL

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

LOGGED = {
    "loss": "loss/policy",
    "grad_norm": "grad/norm",
    "learning_rate": "grad/lr",
    "clip_ratio/low_mean": "clip/low",
    "clip_ratio/high_mean": "clip/high",
    "entropy": "entropy/mean",
    "kl": "kl/reference",
}
"""TRL's names of logged metrics -> the names in metrics.jsonl."""


class RunMirrorCallback(TrainerCallback):
    """Writes the run folder from the main process, with a metrics row for every step.

    ``kl_coef``: coefficient of the KL term in TRL's loss, which is logged separately.
    """

    def __init__(self, mirror: RunMirror, kl_coef: float):
        self.mirror, self.kl_coef = mirror, kl_coef

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            self.mirror.begin(state.global_step, state.max_steps)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.mirror.set_status("running", phase="rollout")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_log = True
        request = ["pause"]
        while request[0] == "pause":
            request = [self.mirror.pending_request() if state.is_world_process_zero else ""]
            if args.world_size > 1:
                # Broadcast repeatedly so that no rank hits the collective's timeout.
                broadcast_object_list(request)
                if request[0] == "pause" and not state.is_world_process_zero:
                    time.sleep(PAUSE_POLL)
        if request[0] == "stop":
            control.should_training_stop = True
            control.should_save |= args.save_strategy != "no"

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if state.is_world_process_zero and logs and "grad_norm" in logs:
            row = {ours: float(logs[name]) for name, ours in LOGGED.items() if logs.get(name) is not None}
            if self.kl_coef and "kl" in logs:
                row["loss/kl"] = self.kl_coef * logs["kl"]
                row["loss/policy"] -= row["loss/kl"]
            self.mirror.log(state.global_step, row, logs.get("step_time"))
