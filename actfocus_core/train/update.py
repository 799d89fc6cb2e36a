"""One optimiser step: the gradient of a mini-batch, accumulated over micro-batches, and a step of Adam."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from actfocus_core.errors import ActFocusError
from actfocus_core.losses import PolicyLoss, masked_mean, policy_loss, reference_kl, value_loss
from actfocus_core.policy.split_model import SplitModel, chunk_rows
from actfocus_core.train.batch import MicroBatch, TrainingBatch
from actfocus_core.train.config import TrainConfig
from actfocus_core.trajectory import RESPONSE_KINDS, TokenKind, Trajectory

if TYPE_CHECKING:
    from actfocus_core.train.critic import Critic

HELD_LOGITS = 1 << 25
"""Largest number of logits that a micro-batch holds for its backward pass; above it they are recomputed in chunks."""
Tensors = dict[str, torch.Tensor]
"""name -> tensor"""
PolicyStep = Callable[
    [SplitModel, "Adam", TrainingBatch, np.ndarray, np.ndarray, TrainConfig, int],
    dict[str, float],
]
"""The signature of ``policy_step``."""


class Adam:
    """Adam (betas 0.9 and 0.999) with warm-up of the learning rate and clipping of the gradient norm."""

    def __init__(self, parameters: Iterable[tuple[str, torch.nn.Parameter]], lr: float, warmup: int, max_norm: float):
        self.parameters = {name: p for name, p in parameters if p.requires_grad}
        """the trained parameters by name"""
        self.lr, self.warmup, self.max_norm = lr, warmup, max_norm
        self.inner = torch.optim.Adam(list(self.parameters.values()), lr=lr, betas=(0.9, 0.999), fused=True)

    def rate(self, step: int) -> float:
        """The learning rate of a training step, counted from 1."""
        return self.lr * min(1.0, step / (self.warmup + 1))

    def step(self, step: int, what: str) -> float:
        """Update the parameters of the model called ``what`` and clear the gradients; returns the norm before clipping.

        Raises ActFocusError, and updates nothing, where the gradient is not finite.
        """
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.max_norm))
        if not math.isfinite(norm):
            self.inner.zero_grad()
            raise ActFocusError(
                f"step {step}: the gradient of the {what} is not a finite number ({norm}); "
                "a smaller learning rate usually helps"
            )
        for group in self.inner.param_groups:
            group["lr"] = self.rate(step)
        self.inner.step()
        self.inner.zero_grad()
        return norm

    def load_parameters(self, tensors: Tensors) -> None:
        """Copy stored values into the trained parameters."""
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(tensors[name])

    def state_dict(self) -> Tensors:
        """The moments and step counts as named tensors, ``PARAMETER|KEY``; references, not copies."""
        return {
            f"{name}|{key}": value
            for name, p in self.parameters.items()
            for key, value in self.inner.state.get(p, {}).items()
        }

    def load_state_dict(self, tensors: Tensors) -> None:
        """Replace the state by a copy of a stored one."""
        self.inner.state.clear()
        for full, value in tensors.items():
            name, key = full.rsplit("|", 1)
            self.inner.state[self.parameters[name]][key] = value.to(self.parameters[name].device, copy=True)


def forward(model: SplitModel, micro: MicroBatch, entropy: bool = False) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Log-probs of the response tokens, float32 [n], and the entropies of their distributions.

    Logits are computed at response tokens only. Where the backward pass would hold more than HELD_LOGITS of them, they
    are recomputed chunk by chunk.
    """
    hidden = model.hidden_at(micro.ids[:, :-1], micro.rows, micro.positions - 1)
    vocabulary = model.head.weight.shape[0]
    if not hidden.requires_grad or len(micro) * vocabulary > HELD_LOGITS:
        rows = chunk_rows(vocabulary, hidden.device)
    else:
        rows = len(micro)
    parts = []
    for h, y in zip(torch.split(hidden, rows), torch.split(micro.targets, rows)):
        recompute = hidden.requires_grad and rows < len(micro)
        parts.append(
            checkpoint(_chunk_logprobs, model, h, y, entropy, use_reentrant=False)
            if recompute
            else _chunk_logprobs(model, h, y, entropy)
        )
    logprobs, entropies = zip(*parts)
    return torch.cat(logprobs), torch.cat(entropies) if entropy else None


def _chunk_logprobs(
    model: SplitModel, hidden: torch.Tensor, targets: torch.Tensor, entropy: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    logs = model.logits(hidden).log_softmax(-1)
    return logs.gather(1, targets[:, None])[:, 0], -(logs.exp() * logs).sum(-1) if entropy else None


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Whether a config's ``precision`` means bfloat16 on this device."""
    return precision == "bfloat16" or (precision == "auto" and device.type == "cuda")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The autocast context of a forward pass; the parameters stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(precision, device))


def policy_step(
    model: SplitModel,
    adam: Adam,
    batch: TrainingBatch,
    rows: np.ndarray,
    normaliser: np.ndarray,
    config: TrainConfig,
    step: int,
) -> dict[str, float]:
    """One optimiser step of the policy on the trajectories ``rows``; ``normaliser`` [n] as from ``losses.normalisers``.

    Columns of the batch: ``old_logprobs``, ``advantages``, ``weights``, ``keep``, ``clip_scale``, and where they are
    used ``ref_logprobs`` and ``units``. Returns the metrics of the step. Where no token of the mini-batch has a
    gradient, the policy and the optimiser are left unchanged.
    """
    return apply_gradient(adam, policy_gradient(model, batch, rows, normaliser, config), step)


def apply_gradient(adam: Adam, metrics: dict[str, float] | None, step: int) -> dict[str, float]:
    """The optimiser step after ``policy_gradient``, whose result is ``metrics``; returns the metrics of the whole step."""
    if metrics is None:
        return {"loss/skipped": 1.0}
    return {**metrics, "grad/norm": adam.step(step, "policy"), "loss/skipped": 0.0}


def policy_gradient(
    model: SplitModel, batch: TrainingBatch, rows: np.ndarray, normaliser: np.ndarray, config: TrainConfig
) -> dict[str, float] | None:
    """Accumulate the gradient of a mini-batch in ``parameter.grad``; returns its metrics, or None where it is 0.

    The gradient does not depend on ``micro_tokens``, up to rounding. Without an entropy or KL term a trajectory whose
    advantages are all 0 has no gradient: it counts in the normaliser and is not computed.
    """
    tokens = batch.tokens(rows)
    if not (config.entropy_coef or config.kl_coef):
        rows = rows[~batch.without_gradient()[rows]]
    computed = batch.tokens(rows)
    sums: dict[str, float] = {}
    device = model.head.weight.device
    for micro in batch.micro_batches(rows, config.micro_tokens, device, model.shares_prefixes):
        with autocast(device, config.precision):
            loss, parts = _losses(model, micro, normaliser, config, tokens)
        torch.autograd.backward(loss)
        # Means over the micro-batch become its part of the mean over all computed tokens.
        fraction = len(micro) / computed
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach()) * (1 if name in _SUMS else fraction)
    return sums or None


_SUMS = ("loss/policy", "loss/entropy", "loss/kl")
"""Losses: divided by the normaliser of the mini-batch already."""


def _losses(
    model: SplitModel,
    micro: MicroBatch,
    normaliser: np.ndarray,
    config: TrainConfig,
    tokens: int,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of a micro-batch, its part of that of the mini-batch of ``tokens`` response tokens; and its terms by name."""
    logprobs, entropies = forward(model, micro, bool(config.entropy_coef))
    result = _surrogate(micro, logprobs, micro.columns["weights"], normaliser, config)
    loss, ones = result.loss, torch.ones_like(logprobs)
    parts = {
        "loss/policy": result.loss,
        "kl/update": result.approx_kl,
        "clip/low": result.clip_low,
        "clip/high": result.clip_high,
    }
    if config.entropy_coef:
        assert entropies is not None  # requested above
        parts["loss/entropy"] = -config.entropy_coef * masked_mean(entropies, ones, tokens)
        loss = loss + parts["loss/entropy"]
    if config.kl_coef:
        kl = reference_kl(logprobs, micro.columns["ref_logprobs"], ones, config.kl_kind, tokens)
        parts["loss/kl"] = config.kl_coef * kl
        loss = loss + parts["loss/kl"]
    return loss, parts


def _surrogate(
    micro: MicroBatch, logprobs: torch.Tensor, weights: torch.Tensor, normaliser: np.ndarray, config: TrainConfig
) -> PolicyLoss:
    """The clipped policy loss of a micro-batch under the given token weights."""
    z = normaliser[micro.chosen]
    divisor = float(z[0]) if np.ptp(z) == 0 else torch.from_numpy(z).to(logprobs)[micro.rows]
    columns = micro.columns
    units = columns.get("units")
    if units is not None:
        units = torch.unique(units, return_inverse=True)[1]
    return policy_loss(
        logprobs,
        columns["old_logprobs"],
        columns["advantages"],
        weights,
        columns["keep"],
        config.clip_low,
        config.clip_high,
        divisor,
        columns["clip_scale"],
        units,
    )


def gradient_by_kind(
    model: SplitModel, adam: Adam, batch: TrainingBatch, rows: np.ndarray, normaliser: np.ndarray, config: TrainConfig
) -> dict[str, float]:
    """Norms of the policy gradients of reasoning, action and format tokens alone, and the cosines between them.

    The three gradients of a mini-batch add up to the gradient of its policy loss. Costs one forward pass and three
    backward passes. Parameters and their ``grad`` are left unchanged. A cosine with a zero gradient is left out.
    """
    parameters, device = list(adam.parameters.values()), model.head.weight.device
    gradients = {kind: [torch.zeros_like(p) for p in parameters] for kind in RESPONSE_KINDS}
    rows = rows[~batch.without_gradient()[rows]]
    for micro in batch.micro_batches(rows, config.micro_tokens, device, model.shares_prefixes):
        with autocast(device, config.precision):
            logprobs, _ = forward(model, micro)
            losses = {
                kind: _surrogate(
                    micro, logprobs, micro.columns["weights"] * (micro.columns["kinds"] == kind), normaliser, config
                ).loss
                for kind in RESPONSE_KINDS
            }
        for kind, loss in losses.items():
            parts = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            for whole, part in zip(gradients[kind], parts):
                if part is not None:
                    whole += part
    flat = {kind: torch.cat([g.flatten() for g in parts]) for kind, parts in gradients.items()}
    metrics = {f"mass/gradient_{kind.name.lower()}": float(g.norm()) for kind, g in flat.items()}
    for a, b in (
        (TokenKind.REASONING, TokenKind.ACTION),
        (TokenKind.FORMAT, TokenKind.ACTION),
        (TokenKind.REASONING, TokenKind.FORMAT),
    ):
        lengths = float(flat[a].norm() * flat[b].norm())
        if lengths:
            metrics[f"mass/cosine_{a.name.lower()}_{b.name.lower()}"] = float(flat[a] @ flat[b]) / lengths
    return metrics


def critic_step(
    critic: Critic, adam: Adam, batch: TrainingBatch, rows: np.ndarray, config: TrainConfig, step: int
) -> dict[str, float]:
    """One optimiser step of the critic on a mini-batch. Columns of the batch: ``values``, ``value_targets``."""
    tokens, total = batch.tokens(rows), 0.0
    device = critic.head.weight.device
    for micro in batch.micro_batches(rows, config.micro_tokens, device):
        with autocast(device, config.precision):
            values = critic.values(micro)
        loss = value_loss(
            values,
            micro.columns["values"],
            micro.columns["value_targets"],
            torch.ones_like(values),
            config.clip_value,
            tokens,
        )
        torch.autograd.backward(loss)
        total += float(loss.detach())
    return {"loss/value": total, "grad/critic_norm": adam.step(step, "critic")}


@torch.no_grad()
def per_token(
    trajectories: list[Trajectory],
    of_micro: Callable[[MicroBatch], torch.Tensor],
    tokens: int,
    device: torch.device,
    precision: str = "float32",
    shape: tuple[int, ...] = (),
    by_prefix: bool = False,
) -> list[np.ndarray]:
    """float32 [T, *shape] per trajectory: ``of_micro(micro)`` [n, *shape] at its response tokens, NaN elsewhere.

    ``by_prefix``: as in ``TrainingBatch.micro_batches``.
    """
    batch = TrainingBatch(trajectories, {})
    values = [np.full((len(t), *shape), np.nan, np.float32) for t in trajectories]
    for micro in batch.micro_batches(np.arange(len(trajectories)), tokens, device, by_prefix):
        with autocast(device, precision):
            numbers = of_micro(micro).float().cpu().numpy()
        rows, positions = micro.rows.cpu().numpy(), micro.positions.cpu().numpy()
        for b, i in enumerate(micro.chosen):
            values[i][positions[rows == b]] = numbers[rows == b]
    return values
