"""What every process of a verl job loads: an engine and a trainer, registered as ``actfocus``.

    VERL_USE_EXTERNAL_MODULES=actfocus_core.plugins.verl_ray ACTFOCUS_PARAMS='{"alpha": 0.1, "beta": 0.5}' \\
        python -m verl.trainer.main_ppo trainer.v1.trainer_mode=actfocus \\
        actor_rollout_ref.model.model_type=actfocus actor_rollout_ref.actor.policy_loss.loss_mode=actfocus \\
        actor_rollout_ref.actor.use_kl_loss=True actor_rollout_ref.actor.kl_loss_coef=0 ...

verl starts a reference only where a KL term asks for one; one with coefficient 0 costs nothing in the loss.
``actfocus export --format verl`` writes the whole command. ``ACTFOCUS_RUN``: a run folder that the driver writes and
the studio follows. What of it was run, and on what, is in docs/scale.md.
"""

from __future__ import annotations

import inspect
import json
import os
import uuid
from dataclasses import asdict

from actfocus_core.extras import demand

# Before anything of verl's insides: whether this verl is the one they are written against.
demand("actfocus_core.plugins.verl", "verl")
tq = demand("transfer_queue", "verl")

import numpy as np
import torch
from datasets import Dataset
from tensordict import TensorDict
from verl.experimental.agent_loop.agent_loop import (
    AgentLoopBase,
    AgentLoopMetrics,
    AgentLoopOutput,
    register,
)
from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer
from verl.utils import tensordict_utils as tu
from verl.utils.device import get_device_id
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead
from verl.workers.utils.padding import response_from_nested

from actfocus_core.envs import make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.layout import Layout
from actfocus_core.plugins.batch import DEFAULTS, read_rows, weigh
from actfocus_core.plugins.following import RunFolder
from actfocus_core.plugins.verl import (
    ENERGY,
    TESTED,
    WEIGHTS,
    energies,
    parameters,
    verl,
    weighted,
)
from actfocus_core.policy import Policy
from actfocus_core.policy.sampler import Reply
from actfocus_core.rollout import TRAINING_SEED, Episode
from actfocus_core.spans import span_rule
from actfocus_core.train import metrics as names
from actfocus_core.trajectory import Trajectory, Turn

USED = {
    (FSDPEngineWithLMHead, "forward_backward_batch"): ["self", "data", "loss_function", "forward_only"],
    (FSDPEngineWithLMHead, "prepare_model_outputs"): ["self", "output", "output_args", "micro_batch", "logits_processor_func"],
    (PPOTrainerSync, "_compute_ref_log_prob"): ["self", "batch", "metrics"],
    (PPOTrainerSync, "_compute_advantage"): ["self", "batch", "metrics"],
    (PPOTrainerSync, "_compute_metrics"): ["self", "batch", "metrics", "timing_raw", "global_steps", "epoch"],
    (PPOTrainerSync, "_save_checkpoint"): ["self"],
    (PPOTrainerSync, "fit"): ["self", "agent_loop_manager"],
    (PPOTrainerSync, "on_step_begin"): ["self"],
    (PPOTrainerSync, "on_step_end"): ["self"],
}
"""Methods that are overridden or called, with their arguments."""
LOGGED = {"actor/pg_loss": "loss/policy", "actor/grad_norm": "grad/norm", "actor/lr": "grad/lr", "actor/ppo_kl": "kl/update",
          "actor/clip_low": "clip/low", "actor/clip_high": "clip/high", "actor/entropy": "entropy/mean",
          "critic/vf_loss": "loss/value", "critic/grad_norm": "grad/critic_norm", "critic/vf_explained_var": "critic/explained",
          "critic/values/mean": "critic/value_mean", "timing_s/gen": "seconds/rollout", "timing_s/ref": "seconds/score",
          "timing_s/values": "seconds/values", "timing_s/update_actor": "seconds/update", "timing_s/testing": "seconds/evaluate"}
"""verl's names of what it logs -> those of metrics.jsonl."""


@EngineRegistry.register(model_type="actfocus", backend=["fsdp", "fsdp2"], device=["cuda", "npu"])
class ActFocusEngine(FSDPEngineWithLMHead):
    """verl's FSDP engine; its forward pass also gives energies, and its mini-batches are weighted."""

    def __init__(self, model_config, **parts):
        # "actfocus" led verl to this class; what is built is a language model.
        model_config.model_type = "language_model"
        super().__init__(model_config=model_config, **parts)

    def forward_backward_batch(self, data, loss_function, forward_only=False):
        if not forward_only and WEIGHTS in data.keys():  # noqa: SIM118 - a TensorDict iterates over its rows
            data = weighted(data, self.get_data_parallel_group(), get_device_id())
        return super().forward_backward_batch(data, loss_function, forward_only=forward_only)

    def prepare_model_outputs(self, output, output_args, micro_batch, logits_processor_func):
        wanted = tu.get_non_tensor_data(data=micro_batch, key="calculate_energy", default=False)
        energy = self.energy(output, micro_batch) if wanted else None
        outputs = super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
        return outputs if energy is None else {**outputs, "energy": energy}

    def energy(self, output, micro_batch) -> torch.Tensor:
        """Nested [B, T]: -logsumexp of the raw logits of every position; it belongs to the prediction of the next token."""
        if tu.get_non_tensor_data(data=micro_batch, key="use_fused_kernels", default=False):
            raise ActFocusError("use_fused_kernels=True: the logits are never made, and the energy needs them; set it to False")
        if self.ulysses_sequence_parallel_size > 1:
            raise ActFocusError("ulysses_sequence_parallel_size above 1: the energy is not gathered over its ranks; set it to 1")
        logits, offsets = output.logits, micro_batch["input_ids"].offsets()
        if hasattr(logits, "full_tensor"):
            logits = logits.full_tensor()
        if tu.get_non_tensor_data(data=micro_batch, key="use_remove_padding", default=True):
            rows = logits[0, :int(offsets[-1])]
        else:
            rows = torch.cat([row[:n] for row, n in zip(logits, offsets.diff().tolist())])
        return torch.nested.nested_tensor_from_jagged(energies(rows), offsets)


@register_trainer("actfocus")
class ActFocusTrainer(PPOTrainerSync):
    """verl's synchronous trainer; the reference's energy and a weight a token are part of its batches."""

    def fit(self, agent_loop_manager):
        self._folder = RunFolder(os.environ.get("ACTFOCUS_RUN", ""), self._described(), {"name": self._model})
        with self._folder.watched():
            if os.environ.get("ACTFOCUS_RUN"):
                self._folder.begin(self.global_steps, self.total_training_steps)
            super().fit(agent_loop_manager)

    def on_step_begin(self):
        super().on_step_begin()
        self._folder.tell("running", phase="rollout")

    def _compute_ref_log_prob(self, batch, metrics):
        batch.extra_info["calculate_energy"] = True
        batch = super()._compute_ref_log_prob(batch, metrics)
        batch.extra_info["calculate_energy"] = False
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["energy", "response_mask"])
        energy = response_from_nested(data["energy"], data["response_mask"])
        tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=TensorDict({ENERGY: energy}, batch_size=len(batch)))
        return batch

    def _compute_advantage(self, batch, metrics):
        batch = super()._compute_advantage(batch, metrics)
        p = parameters()
        if p["beta"] and p["signal"] != "nll" and not self.use_reference_policy:
            raise ActFocusError(f"signal {p['signal']!r} needs the reference: set actor_rollout_ref.actor.use_kl_loss=True "
                                "and kl_loss_coef=0")
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=[
            "uid", "prompts", "responses", "response_mask", "rm_scores", "extra_fields", "rollout_log_probs", *SCORED])
        trajectories = read_batch(data, Layout(self.tokenizer, span_rule(p["spans"]), self._model), self.global_steps)
        lengths = data["responses"].offsets().diff().tolist()
        nested = torch.nested.as_nested_tensor([torch.from_numpy(w[len(w) - n:]) for w, n in zip(weigh(trajectories, p), lengths)],
                                               layout=torch.jagged)
        batch = tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id,
                                fields=TensorDict({WEIGHTS: nested}, batch_size=len(batch)))
        if self._folder.run:
            # Rows that verl pads a batch with were never played.
            played = [not tag.get("is_padding", False) for tag in batch.tags]
            self._folder.store(self.global_steps, [t for t, there in zip(trajectories, played) if there],
                               {name: p[name] for name in DEFAULTS}, self._model if self.use_reference_policy else None)
            self._gap = {}
            if "rollout_log_probs" in data.keys():  # noqa: SIM118 - a TensorDict iterates over its rows
                where = data["response_mask"].values() == 1
                self._gap = names.of_sampler(*(data[name].values()[where].numpy() for name in ("rollout_log_probs", "old_log_probs")))
        return batch

    def _compute_metrics(self, batch, metrics, timing_raw, global_steps, epoch):
        super()._compute_metrics(batch, metrics, timing_raw, global_steps, epoch)
        if self._folder.run:
            actor = self.config.actor_rollout_ref.actor
            row = {ours: float(metrics[name]) for name, ours in LOGGED.items() if name in metrics} | self._gap
            for term, name, factor in (("loss/entropy", "actor/entropy_loss", -actor.entropy_coeff),
                                       ("loss/kl", "actor/kl_loss", actor.kl_loss_coef)):
                if factor and name in metrics:
                    row[term] = factor * float(metrics[name])
            self._folder.log(global_steps, row, timing_raw.get("step"))

    def on_step_end(self):
        super().on_step_end()
        while self._folder.run and (asked := self._folder.asked()) != "go":
            if asked == "stop":
                # verl counts up to this many steps.
                if self.config.trainer.save_freq > 0 and self.global_steps < self.total_training_steps:
                    self._save_checkpoint()
                self.total_training_steps = self.global_steps
                break

    @property
    def _model(self) -> str:
        return str(self.config.actor_rollout_ref.model.path)

    def _described(self) -> dict:
        """What repeats this run, for its folder."""
        c, actor, rollout = self.config, self.config.actor_rollout_ref.actor, self.config.actor_rollout_ref.rollout
        played, p = self.train_dataset[0].get("extra_info") or {}, parameters()
        low, high = ((actor.clip_ratio if value is None else value) for value in (actor.clip_ratio_low, actor.clip_ratio_high))
        return {"command": "verl", "env": played.get("env", ""), "env_options": dict(played.get("options") or {}), "model": self._model,
                "algorithm": {"gae": "ppo"}.get(c.algorithm.adv_estimator, c.algorithm.adv_estimator), "scheme": "actfocus",
                "scheme_params": {name: p[name] for name in DEFAULTS}, "prompts": c.data.train_batch_size, "rollouts": rollout.n,
                "lr": actor.optim.lr, "clip_low": low, "clip_high": high, "temperature": rollout.temperature}


SCORED = {"old_log_probs": "", "entropy": "entropy", "ref_log_prob": "ref_logprob", ENERGY: "ref_energy"}
"""Fields of verl's batch over the response -> our signals; the first are the log-probs themselves."""


def read_batch(data: TensorDict, layout: Layout, step: int) -> list[Trajectory]:
    """The rows of verl's batch with what was scored of them; an episode of ``EnvironmentLoop`` as it was played."""
    rows = {name: [row.tolist() for row in data[name].unbind()] for name in ("prompts", "responses", "response_mask", "rm_scores")}
    trajectories = read_rows(rows["prompts"], rows["responses"], rows["response_mask"], layout,
                             [sum(row) for row in rows["rm_scores"]], [str(u) for u in data.get("uid").tolist()], step)
    scored = {ours: data[theirs].unbind() for theirs, ours in SCORED.items() if theirs in data.keys()}  # noqa: SIM118
    told = data.get("extra_fields").tolist() if "extra_fields" in data.keys() else [{}] * len(trajectories)  # noqa: SIM118
    for i, t in enumerate(trajectories):
        where, start = np.flatnonzero(t.response_mask), len(rows["prompts"][i])
        for ours, values in scored.items():
            column = np.full(len(t), np.nan, np.float32)
            column[where] = values[i].float().numpy()[where - start]
            if ours:
                t.signals[ours] = column
            else:
                t.logprobs = column
        if EPISODE in told[i]:
            episode = json.loads(told[i][EPISODE])
            t.turn_records = [Turn(**turn) for turn in episode.pop("turns")]
            for name, value in episode.items():
                setattr(t, name, value)
            t.group = f"{step:05d}-{t.seed}"
            t.id = f"{t.group}-{t.rollout:02d}"
    return trajectories


EPISODE = "actfocus_episode"
"""Where an episode's own record lies among the extra fields of verl's agent loops: JSON."""


@register("actfocus")
class EnvironmentLoop(AgentLoopBase):
    """verl's agent loop on one of our environments: token in, token out, the same turns as ``actfocus rollout`` plays."""

    async def run(self, sampling_params: dict, priority: int = 0, session_id: int = 0, **row) -> AgentLoopOutput:
        """Play one episode. ``extra_info`` of the row, as ``prompts`` gives it: env, options, seed."""
        asked, request, versions = row["extra_info"], uuid.uuid4().hex, {}
        env = make_env(asked["env"], **asked["options"])
        env.reset(int(asked["seed"]), int(session_id))
        episode = Episode(env, Policy("", None, self.tokenizer), 0, 0)
        context, stop = self.rollout_config.prompt_length + self.rollout_config.response_length, episode.chat.stop_ids()
        while not episode.done:
            made = await self.server_manager.generate(
                request_id=request, prompt_ids=list(episode.ids), priority=int(priority),
                sampling_params={**sampling_params, "max_tokens": episode.room(context), "stop_token_ids": stop})
            # Which weights played: those of the first turn and those of the last.
            versions = {"min_global_steps": made.extra_fields.get("min_global_steps"), **versions,
                        "max_global_steps": made.extra_fields.get("max_global_steps")}
            ids = list(made.token_ids)
            logprobs = np.array(made.log_probs if made.log_probs else [np.nan] * len(ids), np.float32)
            episode.take(Reply(ids, logprobs, np.full(len(ids), np.nan, np.float32), ids[-1] in stop), context)
        t = episode.trajectory()
        start = int(np.argmax(t.response_mask))
        known = np.isfinite(t.logprobs[t.response_mask]).all()
        record = {name: getattr(t, name) for name in ("env", "seed", "rollout", "reward", "penalty", "success", "terminated", "truncated")}
        return AgentLoopOutput(
            prompt_ids=t.token_ids[:start].tolist(), response_ids=t.token_ids[start:].tolist(),
            response_mask=t.response_mask[start:].astype(int).tolist(),
            response_logprobs=np.nan_to_num(t.logprobs[start:]).tolist() if known else None, reward_score=t.ret,
            num_turns=2 * len(t.turn_records), metrics=AgentLoopMetrics(), extra_fields={
                "turn_scores": [], "tool_rewards": [], **versions,
                EPISODE: json.dumps({**record, "turns": [asdict(turn) for turn in t.turn_records]})})


def prompts(env: str, count: int, file: str, **options) -> None:
    """Write ``count`` prompts of an environment as a Parquet file for verl's ``data.train_files``, from the first training seed on.

    Raises ActFocusError for an unknown environment or option.
    """
    template = make_env(env, **options)
    system = {"role": "system", "content": template.system_prompt()}
    Dataset.from_list([{
        "prompt": [system, {"role": "user", "content": template.clone().reset(seed)}], "data_source": env, "agent_name": "actfocus",
        "reward_model": {"style": "rule", "ground_truth": ""}, "extra_info": {"env": env, "options": template.options.model_dump(mode="json"),
                                                                              "seed": seed, "index": seed}}
        for seed in range(TRAINING_SEED, TRAINING_SEED + count)]).to_parquet(file)


def check_contract() -> None:
    """Raise ActFocusError where the insides of this verl are not those the plug-in was written against."""
    for (owner, name), arguments in USED.items():
        method = getattr(owner, name, None)
        if method is None or list(inspect.signature(method).parameters) != arguments:
            raise ActFocusError(f"verl {verl.__version__}: {owner.__name__}.{name}({', '.join(arguments)}) is not there as such, so "
                                f"the weighted loss would be wrong without a word; pip install 'verl=={TESTED}*'")


check_contract()
