"""What one update needs: the models, their optimisers, the frozen reference, and kept trajectories as a batch.

A training session is a learner with a run folder around it (session.py); a replay is one without (replay).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
from actfocus_core.train.groups import number_kept
from actfocus_core.train.lora import add_adapters
from actfocus_core.train.update import Adam, forward, gradient_by_kind, in_half, per_token
from actfocus_core.trajectory import Trajectory

Progress = Callable[[str, int, int], None]
"""phase, done, total"""
Tensors = dict[str, torch.Tensor]
"""by name"""
Part = tuple[Callable[[], Tensors], Callable[[Tensors], None]]
"""what gives tensors, and what takes them up"""
_FROM_REFERENCE = frozenset(("energy", "entropy", "centred_energy", "shift"))
"""Needs of a scheme that only scoring by the reference meets."""


@dataclass(frozen=True)
class Prepared:
    """The kept trajectories of a step with all that the update reads of them."""

    batch: Batch
    credit: Credit
    tokens: TrainingBatch


class Learner:
    """Policy, critic and optimisers, and how far they are. Trains ``policy.model`` in place."""

    def __init__(self, config: TrainConfig, policy: Policy, on_progress: Progress | None = None):
        self.config, self.policy = config, policy
        self.progress = on_progress or (lambda phase, done, total: None)
        policy.model.requires_grad_(True)
        self.adapted = add_adapters(policy.model, config.lora_rank, config.seed) if config.lora_rank else None
        if config.gradient_checkpointing:
            # transformers 5.19, which vLLM needs, has it under its older name only.
            enable = (
                getattr(policy.model, "activation_checkpointing_enable", None)
                or policy.model.gradient_checkpointing_enable
            )
            enable({"use_reentrant": False})
        self.adam = Adam(policy.model.named_parameters(), config.lr, config.warmup, config.max_grad_norm)
        # Where the arithmetic is bfloat16 the trained weights are float32, and a copy in bfloat16 plays.
        self.half = in_half(config.precision, policy.device)
        self.model = SplitModel(policy.model, fast=not self.half)
        self.player = half(policy) if self.half and config.sampler == "transformers" else policy
        self.critic, self.critic_adam = None, None
        if config.algorithm == "ppo":
            self.critic = Critic(policy)
            self.critic_adam = Adam(
                self.critic.named_parameters(), config.critic_lr, config.warmup, config.max_grad_norm
            )
        self._reference: Policy | None = None
        self.step = 0
        """steps done"""
        self.notes: dict[str, float] = {}
        """metrics of the step that are found on the way: seconds by phase, the sampler's KL"""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part of the step."""
        began = time.perf_counter()
        yield
        self.notes[f"seconds/{name}"] = self.notes.get(f"seconds/{name}", 0.0) + time.perf_counter() - began

    def credit(self, kept: list[Trajectory]) -> tuple[Batch, Credit]:
        """The scheme's credit; the frozen reference scores the rollouts where scheme or KL needs it."""
        self._old = self._old_logprobs(kept)
        scheme, batch = get_scheme(self.config.scheme), Batch.of(kept)
        credit = scheme.compute(batch, **self.config.scheme_params)
        if credit.missing or self.config.kl_coef:
            score(
                kept,
                self.reference,
                tokens_per_batch=self.config.micro_tokens,
                on_progress=lambda d, n: self.progress("score", d, n),
            )
            batch = Batch.of(kept)
            credit = scheme.compute(batch, **self.config.scheme_params)
        if credit.missing:
            raise ActFocusError(
                f"scheme {self.config.scheme!r} needs {', '.join(credit.missing)}, which training "
                "does not record; choose another scheme"
            )
        return batch, credit

    @property
    def scores_all(self) -> bool:
        """Whether the reference scores every rollout of a step: scheme or KL needs it, and no group is filtered out."""
        c, scheme = self.config, get_scheme(self.config.scheme)
        needed = c.kl_coef or _FROM_REFERENCE & set(scheme.required({**scheme.defaults, **c.scheme_params}))
        return bool(needed) and number_kept(c.prompts, c.filter_share) == c.prompts

    def batch(
        self, kept: list[Trajectory], batch: Batch, credit: Credit, advantages: np.ndarray, **more: np.ndarray
    ) -> TrainingBatch:
        """Everything the update knows of the kept trajectories; ``more``: further columns [N]."""
        columns = {
            "old_logprobs": np.concatenate(self._old),
            "advantages": advantages,
            "weights": credit.weight * credit.keep,
            "keep": credit.keep,
            "clip_scale": credit.clip_scale,
            "kinds": batch.kinds,
            **more,
        }
        if self.config.kl_coef:
            columns["ref_logprobs"] = np.concatenate([t.signals["ref_logprob"] for t in kept])
        if credit.ratio_unit != "token":
            turns = batch.turns if credit.ratio_unit == "turn" else np.zeros_like(batch.turns)
            columns["units"] = batch.index * (1 << 16) + turns
        return TrainingBatch(kept, columns)

    def minibatches(
        self, batch: TrainingBatch, credit: Credit, step: int, epoch: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """(rows, z) of every optimiser step of an epoch; z as ``losses.normalisers`` gives it."""
        parts = minibatches(len(batch.trajectories), self.config.minibatch, self.config.seed, step, epoch)
        # A normaliser that the config names goes before the scheme's own.
        z = normalisers(
            batch.total("weights"),
            parts,
            self.config.normaliser or credit.normaliser,
            None if self.config.normaliser else credit.divisor,
        )
        return [(rows, z) for rows in parts]

    @contextmanager
    def updating(self) -> Iterator[None]:
        """The policy in training mode where it makes its activations twice; the player follows it."""
        models = [self.policy.model, *([self.critic] if self.critic is not None else [])]
        for model in models:
            model.train(self.config.gradient_checkpointing)
        yield
        for model in models:
            model.eval()
        if self.player is not self.policy:
            with torch.no_grad():
                for mine, new in zip(self.player.model.parameters(), self.policy.model.parameters()):
                    mine.copy_(new)

    def gradient_by_kind(self, made: Prepared, step: int) -> dict[str, float]:
        """``update.gradient_by_kind`` of the step's first mini-batch."""
        with self.phase("measure"):
            rows, z = self.minibatches(made.tokens, made.credit, step, epoch=0)[0]
            return gradient_by_kind(self.model, self.adam, made.tokens, rows, z, self.config)

    # --- what the next step depends on ---------------------------------------------------

    def parts(self) -> dict[str, Part]:
        """File name -> (what gives its tensors, what takes them up)."""
        parts: dict[str, Part] = {}
        for name, adam in (("policy", self.adam), ("critic", self.critic_adam)):
            if adam is not None:
                parts |= {name: (adam.parameters, adam.restore), f"{name}-adam": (adam.tensors, adam.load)}
        return parts

    def stored(self) -> dict[str, Tensors]:
        """File name -> name -> tensor; these are the living tensors, not copies."""
        return {name: give() for name, (give, _) in self.parts().items()}

    def take_up(self, tensors: dict[str, Tensors]) -> None:
        """Go on from what ``stored`` gave once."""
        for name, (_, take) in self.parts().items():
            take(tensors[name])
        with self.updating():
            pass

    # --- the rest ------------------------------------------------------------------------

    @property
    def reference(self) -> Policy:
        """The policy as it was before training, frozen; loaded when it is first needed."""
        if self._reference is None:
            self._reference = load_policy(
                self.config.model, str(self.policy.device), "bfloat16" if self.half else "float32"
            )
        return self._reference

    def _old_logprobs(self, kept: list[Trajectory]) -> list[np.ndarray]:
        """Log-probs under the policy that sampled, before it is updated.

        Where the sampler's arithmetic is not the trainer's (bfloat16, vLLM) they are made again, so
        that the first ratio is 1, and how far the two are apart is noted. Entropies the sampler did not
        give are made with them.
        """
        if self.player is self.policy and self.config.sampler == "transformers":
            return [t.logprobs for t in kept]

        def both(micro: MicroBatch) -> torch.Tensor:
            logprobs, entropies = forward(self.model, micro, entropy=True)
            assert entropies is not None  # They are asked for.
            return torch.stack([logprobs, entropies], dim=1)

        made = per_token(
            kept,
            both,
            self.config.micro_tokens,
            self.policy.device,
            self.config.precision,
            (2,),
            shared=self.model.shares_prefixes,
        )
        sampled, again = (
            np.concatenate([values[t.response_mask] for t, values in zip(kept, columns)])
            for columns in ([t.logprobs for t in kept], [new[:, 0] for new in made])
        )
        self.notes |= names.of_sampler(sampled, again)
        for t, new in zip(kept, made):
            t.signals["entropy"] = np.where(np.isnan(t.signals["entropy"]), new[:, 1], t.signals["entropy"])
        return [new[:, 0] for new in made]


def half(policy: Policy) -> Policy:
    """A copy in bfloat16, without gradients."""
    model = copy.deepcopy(policy.model).to(torch.bfloat16).requires_grad_(False).eval()
    return Policy(policy.name, model, policy.tokenizer, policy.env_options)
