"""The module that every process of a verl job loads: registers a trainer, an engine and an agent loop as ``actfocus``.

    VERL_USE_EXTERNAL_MODULES=actfocus_core.plugins.verl_ray ACTFOCUS_PARAMS='{"alpha": 0.1, "beta": 0.5}' \\
        python -m verl.trainer.main_ppo trainer.v1.trainer_mode=actfocus \\
        actor_rollout_ref.model.model_type=actfocus actor_rollout_ref.actor.policy_loss.loss_mode=actfocus \\
        actor_rollout_ref.actor.use_kl_loss=True actor_rollout_ref.actor.kl_loss_coef=0 ...

verl starts a reference model only for a KL term; a KL term with coefficient 0 does not change the loss.
``actfocus export --format verl`` writes the whole command. ``ACTFOCUS_RUN``: a run folder that the driver writes and
the studio can follow. docs/scale.md states what has been run, and on which hardware.
"""

from __future__ import annotations

import os
from typing import Any

from actfocus_core.extras import require

tq = require("transfer_queue", "verl")

import torch
import verl
from tensordict import TensorDict
from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer
from verl.workers.utils.padding import response_from_nested

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.converter import Converter
from actfocus_core.plugins.batch import DEFAULTS, weigh
from actfocus_core.plugins.mirror import RunMirror
from actfocus_core.plugins.signatures import check_methods
from actfocus_core.plugins.verl import TESTED
from actfocus_core.plugins.verl.batch import SCORED, read_batch
from actfocus_core.plugins.verl.engine import ActFocusEngine
from actfocus_core.plugins.verl.loop import EnvironmentLoop, prompts
from actfocus_core.plugins.verl.settings import parameters
from actfocus_core.plugins.verl.weights import ENERGY, WEIGHTS
from actfocus_core.spans import span_rule
from actfocus_core.train import metrics as names

__all__ = ["ActFocusEngine", "ActFocusTrainer", "EnvironmentLoop", "prompts"]
USED = {
    (PPOTrainerSync, "_compute_ref_log_prob"): ["self", "batch", "metrics"],
    (PPOTrainerSync, "_compute_advantage"): ["self", "batch", "metrics"],
    (PPOTrainerSync, "_compute_metrics"): ["self", "batch", "metrics", "timing_raw", "global_steps", "epoch"],
    (PPOTrainerSync, "_save_checkpoint"): ["self"],
    (PPOTrainerSync, "fit"): ["self", "agent_loop_manager"],
    (PPOTrainerSync, "on_step_begin"): ["self"],
    (PPOTrainerSync, "on_step_end"): ["self"],
}
"""Methods that are overridden or called, with their arguments."""
check_methods(verl, TESTED, USED)
LOGGED = {
    "actor/pg_loss": "loss/policy",
    "actor/grad_norm": "grad/norm",
    "actor/lr": "grad/lr",
    "actor/ppo_kl": "kl/update",
    "actor/clip_low": "clip/low",
    "actor/clip_high": "clip/high",
    "actor/entropy": "entropy/mean",
    "critic/vf_loss": "loss/value",
    "critic/grad_norm": "grad/critic_norm",
    "critic/vf_explained_var": "critic/explained",
    "critic/values/mean": "critic/value_mean",
    "timing_s/gen": "seconds/rollout",
    "timing_s/ref": "seconds/score",
    "timing_s/values": "seconds/values",
    "timing_s/update_actor": "seconds/update",
    "timing_s/testing": "seconds/evaluate",
}
"""verl's names of logged metrics -> the names in metrics.jsonl."""


@register_trainer("actfocus")
class ActFocusTrainer(PPOTrainerSync):  # type: ignore[misc]  # verl has no types
    """verl's synchronous trainer with the reference's energy and one weight per token in its batches."""

    total_training_steps: int

    def fit(self, agent_loop_manager: Any) -> None:
        self._mirror = RunMirror(os.environ.get("ACTFOCUS_RUN", ""), self._run_config(), {"name": self._model})
        with self._mirror.session():
            if os.environ.get("ACTFOCUS_RUN"):
                self._mirror.begin(self.global_steps, self.total_training_steps)
            super().fit(agent_loop_manager)

    def on_step_begin(self) -> None:
        super().on_step_begin()
        self._mirror.set_status("running", phase="rollout")

    def _compute_ref_log_prob(self, batch: Any, metrics: dict[str, Any]) -> Any:
        batch.extra_info["calculate_energy"] = True
        batch = super()._compute_ref_log_prob(batch, metrics)
        batch.extra_info["calculate_energy"] = False
        data = tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=["energy", "response_mask"]
        )
        energy = response_from_nested(data["energy"], data["response_mask"])
        tq.kv_batch_put(
            keys=batch.keys, partition_id=batch.partition_id, fields=TensorDict({ENERGY: energy}, batch_size=len(batch))
        )
        return batch

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        batch = super()._compute_advantage(batch, metrics)
        p = parameters()
        if p["beta"] and p["signal"] != "nll" and not self.use_reference_policy:
            raise ActFocusError(
                f"signal {p['signal']!r} needs a reference model; set actor_rollout_ref.actor.use_kl_loss=True "
                "and kl_loss_coef=0"
            )
        data = tq.kv_batch_get(
            keys=batch.keys,
            partition_id=batch.partition_id,
            select_fields=[
                "uid",
                "prompts",
                "responses",
                "response_mask",
                "rm_scores",
                "extra_fields",
                "rollout_log_probs",
                *SCORED,
            ],
        )
        trajectories = read_batch(
            data, Converter(self.tokenizer, span_rule(p["spans"]), self._model), self.global_steps
        )
        lengths = data["responses"].offsets().diff().tolist()
        nested = torch.nested.as_nested_tensor(
            [torch.from_numpy(w[len(w) - n :]) for w, n in zip(weigh(trajectories, p), lengths)], layout=torch.jagged
        )
        batch = tq.kv_batch_put(
            keys=batch.keys,
            partition_id=batch.partition_id,
            fields=TensorDict({WEIGHTS: nested}, batch_size=len(batch)),
        )
        if self._mirror.run:
            # verl pads a batch with rows that were not played.
            is_padding = [tag.get("is_padding", False) for tag in batch.tags]
            self._mirror.store(
                self.global_steps,
                [t for t, padding in zip(trajectories, is_padding) if not padding],
                {name: p[name] for name in DEFAULTS},
                self._model if self.use_reference_policy else None,
            )
            self._gap = {}
            if "rollout_log_probs" in data.keys():  # noqa: SIM118 - a TensorDict iterates over its rows
                where = data["response_mask"].values() == 1
                self._gap = names.of_sampler(
                    *(data[name].values()[where].numpy() for name in ("rollout_log_probs", "old_log_probs"))
                )
        return batch

    def _compute_metrics(
        self, batch: Any, metrics: dict[str, Any], timing_raw: dict[str, float], global_steps: int, epoch: int
    ) -> None:
        super()._compute_metrics(batch, metrics, timing_raw, global_steps, epoch)
        if self._mirror.run:
            actor = self.config.actor_rollout_ref.actor
            row = {ours: float(metrics[name]) for name, ours in LOGGED.items() if name in metrics} | self._gap
            for term, name, factor in (
                ("loss/entropy", "actor/entropy_loss", -actor.entropy_coeff),
                ("loss/kl", "actor/kl_loss", actor.kl_loss_coef),
            ):
                if factor and name in metrics:
                    row[term] = factor * float(metrics[name])
            self._mirror.log(global_steps, row, timing_raw.get("step"))

    def on_step_end(self) -> None:
        super().on_step_end()
        while self._mirror.run and (request := self._mirror.pending_request()) != "go":
            if request == "stop":
                # verl trains up to ``total_training_steps``.
                if self.config.trainer.save_freq > 0 and self.global_steps < self.total_training_steps:
                    self._save_checkpoint()
                self.total_training_steps = self.global_steps
                break

    @property
    def _model(self) -> str:
        return str(self.config.actor_rollout_ref.model.path)

    def _run_config(self) -> dict[str, Any]:
        """The settings that reproduce this run, for its run.json."""
        c, actor, rollout = self.config, self.config.actor_rollout_ref.actor, self.config.actor_rollout_ref.rollout
        env_info, p = self.train_dataset[0].get("extra_info") or {}, parameters()
        low, high = (
            (actor.clip_ratio if value is None else value) for value in (actor.clip_ratio_low, actor.clip_ratio_high)
        )
        return {
            "command": "verl",
            "env": env_info.get("env", ""),
            "env_options": dict(env_info.get("options") or {}),
            "model": self._model,
            "algorithm": {"gae": "ppo"}.get(c.algorithm.adv_estimator, c.algorithm.adv_estimator),
            "scheme": "actfocus",
            "scheme_params": {name: p[name] for name in DEFAULTS},
            "prompts": c.data.train_batch_size,
            "rollouts": rollout.n,
            "lr": actor.optim.lr,
            "clip_low": low,
            "clip_high": high,
            "temperature": rollout.temperature,
        }
