"""A callback of TRL's that mirrors the training in a run folder."""

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
"""TRL's names of what it logs -> those of metrics.jsonl."""


class Following(TrainerCallback):
    """Tells the run folder from the main process. A step is logged where it is followed."""

    def __init__(self, folder: RunMirror, kl_coef: float):
        self.folder, self.kl_coef = folder, kl_coef

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            self.folder.begin(state.global_step, state.max_steps)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.folder.tell("running", phase="rollout")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_log = True
        asked = ["pause"]
        while asked[0] == "pause":
            asked = [self.folder.asked() if state.is_world_process_zero else ""]
            if args.world_size > 1:
                # Broadcast again and again, so that no rank hits the collective's timeout.
                broadcast_object_list(asked)
                if asked[0] == "pause" and not state.is_world_process_zero:
                    time.sleep(PAUSE_POLL)
        if asked[0] == "stop":
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
            self.folder.log(state.global_step, row, logs.get("step_time"))
