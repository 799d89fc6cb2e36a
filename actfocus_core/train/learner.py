"""The state of a training run that an update reads and changes: policy, critic, optimisers and frozen reference.

A training session has a learner and a run folder (session.py). A replay has one or several learners and no session
(counterfactual/replay).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from actfocus_core.credit import Batch, Credit, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.losses import normalisers
from actfocus_core.policy import Policy, load_policy
from actfocus_core.policy.split_model import SplitModel
from actfocus_core.signals import score
from actfocus_core.train import metrics as names
from actfocus_core.train.batch import MicroBatch, TrainingBatch, minibatches
from actfocus_core.train.config import TrainConfig
from actfocus_core.train.critic import Critic
from actfocus_core.train.groups import number_selected
from actfocus_core.train.lora import add_adapters
from actfocus_core.train.update import Adam, Tensors, forward, gradient_by_kind, per_token, uses_bf16
from actfocus_core.trajectory import Trajectory

Progress = Callable[[str, int, int], None]
"""phase, done, total"""
StateDict = dict[str, Tensors]
"""Name of a checkpoint file, without its ending -> its tensors."""
_FROM_REFERENCE = frozenset(("energy", "entropy", "centred_energy", "shift"))
"""Signals that only the frozen reference provides."""


@dataclass(frozen=True)
class Prepared:
    """The selected trajectories of a step, and everything the update reads of them."""

    batch: Batch
    credit: Credit
    training_batch: TrainingBatch
    metrics: dict[str, float]
    """metrics measured during the preparation"""


class Learner:
    """Policy, critic and optimisers, and the number of steps they have taken. Trains ``policy.model`` in place."""

    def __init__(
        self,
        config: TrainConfig,
        policy: Policy,
        on_progress: Progress | None = None,
        on_phase: Callable[[str], None] | None = None,
    ):
        """``on_phase`` is called with the name of every phase of a step when it begins."""
        self.config, self.policy = config, policy
        self.progress = on_progress or (lambda phase, done, total: None)
        self._on_phase = on_phase or (lambda phase: None)
        policy.model.requires_grad_(True)
        self.adapted = add_adapters(policy.model, config.lora_rank, config.seed) if config.lora_rank else None
        if config.gradient_checkpointing:
            recompute_activations(policy.model)
        self.adam = Adam(policy.model.named_parameters(), config.lr, config.warmup, config.max_grad_norm)
        # In bfloat16 the trained weights stay float32, and a bfloat16 copy of them plays the episodes.
        self.bf16 = uses_bf16(config.precision, policy.device)
        self.model = SplitModel(policy.model, fast=not self.bf16)
        self.rollout_policy = bf16_copy(policy) if self.bf16 and config.sampler == "transformers" else policy
        self.critic, self.critic_adam = None, None
        if config.algorithm == "ppo":
            self.critic = Critic(policy)
            self.critic_adam = Adam(
                self.critic.named_parameters(), config.critic_lr, config.warmup, config.max_grad_norm
            )
        self._reference: Policy | None = None
        self.step = 0
        """steps done"""
        self.seconds: dict[str, float] = {}
        """phase -> seconds, since they were last reset"""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Report that a phase of the step begins, and time it."""
        self._on_phase(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    # --- before the update ---------------------------------------------------------------

    def prepare(
        self, selected: list[Trajectory], advantages: np.ndarray | None = None, **columns: np.ndarray
    ) -> Prepared:
        """Compute the credit of every token of the selected trajectories, and collect the inputs of the update.

        ``advantages``, float32 [N]: in place of the scheme's (PPO). ``columns``: additional columns [N]. N counts all tokens of
        the trajectories, concatenated. Raises ActFocusError if the scheme needs inputs that training does not record.
        """
        with self.phase("score"):
            old_logprobs, sampler_metrics = self._old_logprobs(selected)
            batch, credit = self._credit(selected)
        with self.phase("update"):
            columns = {
                "old_logprobs": np.concatenate(old_logprobs),
                "advantages": credit.advantage if advantages is None else advantages,
                "weights": credit.weight * credit.keep,
                "keep": credit.keep,
                "clip_scale": credit.clip_scale,
                "kinds": batch.kinds,
                **columns,
            }
            if self.config.kl_coef:
                columns["ref_logprobs"] = np.concatenate([t.signals["ref_logprob"] for t in selected])
            if credit.ratio_unit != "token":
                turns = batch.turns if credit.ratio_unit == "turn" else np.zeros_like(batch.turns)
                columns["units"] = batch.index * (1 << 16) + turns
            metrics = sampler_metrics | names.of_credit(batch, credit) | names.of_reference(selected)
            return Prepared(batch, credit, TrainingBatch(selected, columns), metrics)

    def _credit(self, selected: list[Trajectory]) -> tuple[Batch, Credit]:
        """The scheme's credit; the frozen reference first scores the trajectories if scheme or KL term need it."""
        config, scheme = self.config, get_scheme(self.config.scheme)
        batch = Batch.of(selected)
        required = scheme.required(scheme.checked(config.scheme_params))
        if config.kl_coef or not all(batch.has(name) for name in required):
            score(
                selected,
                self.reference,
                tokens_per_batch=config.micro_tokens,
                on_progress=lambda done, total: self.progress("score", done, total),
            )
            batch = Batch.of(selected)
        credit = scheme.compute(batch, **config.scheme_params)
        if credit.missing:
            raise ActFocusError(
                f"scheme {config.scheme!r} needs {', '.join(credit.missing)}, which training "
                "does not record; choose another scheme"
            )
        return batch, credit

    def _old_logprobs(self, selected: list[Trajectory]) -> tuple[list[np.ndarray], dict[str, float]]:
        """Log-probs under the policy that sampled, float32 [T] per trajectory, and the metrics of the sampler.

        Where the sampler's arithmetic is not the trainer's (bfloat16, vLLM) they are recomputed, so that the first
        ratio is 1. Entropies that the sampler did not record are filled in from the same pass.
        """
        if self.rollout_policy is self.policy and self.config.sampler == "transformers":
            return [t.logprobs for t in selected], {}

        def both(micro: MicroBatch) -> torch.Tensor:
            logprobs, entropies = forward(self.model, micro, entropy=True)
            assert entropies is not None  # requested above
            return torch.stack([logprobs, entropies], dim=1)

        recomputed = per_token(
            selected,
            both,
            self.config.micro_tokens,
            self.policy.device,
            self.config.precision,
            (2,),
            by_prefix=self.model.shares_prefixes,
        )
        logprobs = [values[:, 0] for values in recomputed]
        for t, values in zip(selected, recomputed):
            t.signals["entropy"] = np.where(np.isnan(t.signals["entropy"]), values[:, 1], t.signals["entropy"])
        sampled, again = (
            np.concatenate([values[t.loss_mask] for t, values in zip(selected, columns)])
            for columns in ([t.logprobs for t in selected], logprobs)
        )
        return logprobs, names.of_sampler(sampled, again)

    @property
    def scores_every_rollout(self) -> bool:
        """Whether the reference scores all rollouts of a step: scheme or KL term reads it, and no group is filtered out."""
        config, scheme = self.config, get_scheme(self.config.scheme)
        needed = config.kl_coef or _FROM_REFERENCE & set(scheme.required(scheme.checked(config.scheme_params)))
        return bool(needed) and number_selected(config.prompts, config.keep_fraction) == config.prompts

    # --- the update ----------------------------------------------------------------------

    def minibatches(self, prepared: Prepared, step: int, epoch: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """(rows, normaliser) of every optimiser step of an epoch.

        ``rows``: int64, the trajectories of the mini-batch. ``normaliser``: float64 [n], the divisor Z of the loss for
        each of the n trajectories of the whole batch (``losses.normalisers``).
        """
        batch, credit, config = prepared.training_batch, prepared.credit, self.config
        parts = minibatches(len(batch.trajectories), config.minibatch, config.seed, step, epoch)
        # A normaliser that the config names overrides the scheme's.
        normaliser = normalisers(
            batch.total("weights"),
            parts,
            config.normaliser or credit.normaliser,
            None if config.normaliser else credit.divisor,
        )
        return [(rows, normaliser) for rows in parts]

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Put the models in training mode where gradient checkpointing asks for it; afterwards update the rollout policy."""
        models = [self.policy.model, *([self.critic] if self.critic is not None else [])]
        for model in models:
            model.train(self.config.gradient_checkpointing)
        yield
        for model in models:
            model.eval()
        self._sync_rollout_policy()

    def gradient_by_kind(self, prepared: Prepared, step: int) -> dict[str, float]:
        """``update.gradient_by_kind`` of the first mini-batch of the step."""
        with self.phase("measure"):
            rows, normaliser = self.minibatches(prepared, step, epoch=0)[0]
            return gradient_by_kind(self.model, self.adam, prepared.training_batch, rows, normaliser, self.config)

    def _sync_rollout_policy(self) -> None:
        """Copy the weights to the policy that samples, where it is another one."""
        if self.rollout_policy is not self.policy:
            with torch.no_grad():
                for target, source in zip(self.rollout_policy.model.parameters(), self.policy.model.parameters()):
                    target.copy_(source)

    # --- checkpoints ---------------------------------------------------------------------

    def state_dict(self) -> StateDict:
        """Everything the next step depends on, by checkpoint file. The tensors are references, not copies."""
        state: StateDict = {"policy": {**self.adam.parameters}, "policy-adam": self.adam.state_dict()}
        if self.critic_adam is not None:
            state |= {"critic": {**self.critic_adam.parameters}, "critic-adam": self.critic_adam.state_dict()}
        return state

    def load_state_dict(self, state: StateDict) -> None:
        """Copy the parameters and optimiser states of a ``state_dict`` into this learner."""
        self.adam.load_parameters(state["policy"])
        self.adam.load_state_dict(state["policy-adam"])
        if self.critic_adam is not None:
            self.critic_adam.load_parameters(state["critic"])
            self.critic_adam.load_state_dict(state["critic-adam"])
        self._sync_rollout_policy()

    @property
    def reference(self) -> Policy:
        """The policy as it was before training, frozen; loaded on first use."""
        if self._reference is None:
            self._reference = load_policy(
                self.config.model, str(self.policy.device), "bfloat16" if self.bf16 else "float32"
            )
        return self._reference


def bf16_copy(policy: Policy) -> Policy:
    """A copy in bfloat16, without gradients."""
    model = copy.deepcopy(policy.model).to(torch.bfloat16).requires_grad_(False).eval()
    return Policy(policy.name, model, policy.tokenizer, policy.env_options)


def recompute_activations(model: Any) -> None:
    """Recompute the activations of each block in the backward pass instead of keeping them (gradient checkpointing)."""
    # transformers 5.19 and earlier have the method under its older name only, which 5.23 deprecates.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
