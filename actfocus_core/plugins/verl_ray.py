"""What every process of a verl job loads: an engine and a trainer, registered as ``actfocus``.

    VERL_USE_EXTERNAL_MODULES=actfocus_core.plugins.verl_ray ACTFOCUS_PARAMS='{"alpha": 0.1, "beta": 0.5}' \\
        python -m verl.trainer.main_ppo trainer.v1.trainer_mode=actfocus \\
        actor_rollout_ref.model.model_type=actfocus actor_rollout_ref.actor.policy_loss.loss_mode=actfocus \\
        actor_rollout_ref.actor.use_kl_loss=True actor_rollout_ref.actor.kl_loss_coef=0 ...

verl starts a reference only where a KL term asks for one; one with coefficient 0 costs nothing in the loss.
``actfocus export --format verl`` writes the whole command. ``ACTFOCUS_RUN``: a run folder that the driver writes and
the studio follows. Needs a GPU: no part of it that verl runs on one has been run on a CPU (docs/scale.md).
"""

from __future__ import annotations

import inspect
import os
import uuid

import numpy as np
import torch
import transfer_queue as tq
import verl
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

from actfocus_core.credit import Batch, get_scheme
from actfocus_core.envs import make_env
from actfocus_core.envs.base import stable_seed
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.layout import Layout
from actfocus_core.plugins.verl import ENERGY, WEIGHTS, energies, parameters, read_rows, weigh, weighted
from actfocus_core.policy import Policy
from actfocus_core.policy.sampler import Reply
from actfocus_core.rollout import TRAINING_SEED, Episode
from actfocus_core.runs import Run
from actfocus_core.spans import span_rule
from actfocus_core.train import metrics as names
from actfocus_core.train.control import write_status

TESTED = "0.9."
USED = {
    (FSDPEngineWithLMHead, "forward_backward_batch"): ["self", "data", "loss_function", "forward_only"],
    (FSDPEngineWithLMHead, "prepare_model_outputs"): ["self", "output", "output_args", "micro_batch", "logits_processor_func"],
    (PPOTrainerSync, "_compute_ref_log_prob"): ["self", "batch", "metrics"],
    (PPOTrainerSync, "_compute_advantage"): ["self", "batch", "metrics"],
}
"""Methods that are overridden, with their arguments."""


@EngineRegistry.register(model_type="actfocus", backend=["fsdp", "fsdp2"], device=["cuda", "npu"])
class ActFocusEngine(FSDPEngineWithLMHead):
    """verl's FSDP engine; its forward pass also gives energies, and its mini-batches are weighted."""

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
        fields = ["uid", "prompts", "responses", "response_mask", "rm_scores", "old_log_probs",
                  *(["ref_log_prob", ENERGY] if self.use_reference_policy else [])]
        if p["beta"] and p["signal"] != "nll" and not self.use_reference_policy:
            raise ActFocusError(f"signal {p['signal']!r} needs the reference: set actor_rollout_ref.actor.use_kl_loss=True "
                                "and kl_loss_coef=0")
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)
        rows = {name: [row.tolist() for row in data[name].unbind()] for name in fields if name != "uid"}
        layout = Layout(self.tokenizer, span_rule(p["spans"]), str(self.config.actor_rollout_ref.model.path))
        trajectories = read_rows(rows["prompts"], rows["responses"], rows["response_mask"], layout,
                                 [sum(row) for row in rows["rm_scores"]], [str(u) for u in data["uid"].tolist()], self.global_steps)
        for i, t in enumerate(trajectories):
            start = len(rows["prompts"][i])
            where = np.flatnonzero(t.response_mask)
            t.logprobs[where] = np.array(rows["old_log_probs"][i], np.float32)[where - start]
            for name, field in (("ref_logprob", "ref_log_prob"), ("ref_energy", ENERGY)):
                if field in rows:
                    t.signals[name] = np.full(len(t), np.nan, np.float32)
                    t.signals[name][where] = np.array(rows[field][i], np.float32)[where - start]
        weights = weigh(trajectories, p)
        nested = torch.nested.as_nested_tensor([torch.from_numpy(w[len(prompt):]) for w, prompt in zip(weights, rows["prompts"])],
                                               layout=torch.jagged)
        batch = tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id,
                                fields=TensorDict({WEIGHTS: nested}, batch_size=len(batch)))
        self._follow(trajectories, p)
        return batch

    def _follow(self, trajectories, p: dict) -> None:
        """Write the step into the run folder that ``ACTFOCUS_RUN`` names, if any."""
        if not (path := os.environ.get("ACTFOCUS_RUN")):
            return
        step, own = self.global_steps, {k: v for k, v in p.items() if k != "spans"}
        model = str(self.config.actor_rollout_ref.model.path)
        run = Run.open(path) if os.path.exists(path) else Run.create(path, {
            "command": "verl", "env": "", "env_options": {}, "model": model, "scheme": "actfocus", "scheme_params": own,
            "steps": self.total_training_steps}, {"name": model})
        if step not in run.steps():
            run.add_trajectories(step, trajectories)
            if self.use_reference_policy:
                run.annotate(step, "reference", trajectories)
            credit = get_scheme("actfocus").compute(batch := Batch.of(trajectories), **own)
            run.log({"step": step, **names.of_rollouts(trajectories, trajectories), **names.of_credit(batch, credit)})
        write_status(run.path, state="running", step=step, steps=self.total_training_steps, phase="update", message="", elapsed=0.0,
                     time_budget=None)


@register("actfocus")
class EnvironmentLoop(AgentLoopBase):
    """verl's agent loop on one of our environments: token in, token out, the same turns as ``actfocus rollout`` plays."""

    async def run(self, sampling_params: dict, priority: int = 0, **row) -> AgentLoopOutput:
        """Play one episode. ``extra_info`` of the row, as ``prompts`` gives it: env, options, seed."""
        asked, request = row["extra_info"], uuid.uuid4().hex
        env = make_env(asked["env"], **asked["options"])
        env.reset(int(asked["seed"]), stable_seed(request) >> 11)
        episode = Episode(env, Policy("", None, self.tokenizer), 0, 0)
        context, stop = self.rollout_config.prompt_length + self.rollout_config.response_length, episode.chat.stop_ids()
        while not episode.done:
            made = await self.server_manager.generate(
                request_id=request, prompt_ids=list(episode.ids), priority=int(priority),
                sampling_params={**sampling_params, "max_tokens": episode.room(context), "stop_token_ids": stop})
            ids = list(made.token_ids)
            logprobs = np.array(made.log_probs if made.log_probs else [np.nan] * len(ids), np.float32)
            episode.take(Reply(ids, logprobs, np.full(len(ids), np.nan, np.float32), ids[-1] in stop), context)
        t = episode.trajectory()
        start = int(np.argmax(t.response_mask))
        known = np.isfinite(t.logprobs[t.response_mask]).all()
        return AgentLoopOutput(
            prompt_ids=t.token_ids[:start].tolist(), response_ids=t.token_ids[start:].tolist(),
            response_mask=t.response_mask[start:].astype(int).tolist(),
            response_logprobs=np.nan_to_num(t.logprobs[start:]).tolist() if known else None, reward_score=t.ret,
            num_turns=2 * len(t.turn_records), metrics=AgentLoopMetrics(), extra_fields={"turn_scores": [], "tool_rewards": []})


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
    """Raise ActFocusError where this verl is not one the plug-in was written against, or its insides have moved."""
    if not verl.__version__.startswith(TESTED):
        raise ActFocusError(f"verl {verl.__version__}: the plug-in was written against {TESTED}*; pip install 'verl=={TESTED}*'")
    for (owner, name), arguments in USED.items():
        method = getattr(owner, name, None)
        if method is None or list(inspect.signature(method).parameters) != arguments:
            raise ActFocusError(f"verl {verl.__version__}: {owner.__name__}.{name}({', '.join(arguments)}) is not there as such, so "
                                f"the weighted loss would be wrong without a word; pip install 'verl=={TESTED}*'")


check_contract()
