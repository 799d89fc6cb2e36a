"""One update: the gradient of a mini-batch, however it is split, and one step of Adam."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from actfocus_core.errors import ActFocusError
from actfocus_core.losses import PolicyLoss, masked_mean, policy_loss, reference_kl, value_loss
from actfocus_core.policy.split_model import SplitModel, chunk_rows
from actfocus_core.train.batch import MicroBatch, TrainingBatch
from actfocus_core.train.config import TrainConfig
from actfocus_core.train.openings import SharedOpenings
from actfocus_core.trajectory import RESPONSE_KINDS, TokenKind, Trajectory

if TYPE_CHECKING:
    from actfocus_core.train.critic import Critic

HELD_LOGITS = 1 << 25
"""Logits a micro-batch may hold for its backward pass; where there are more they are made twice."""


class Adam:
    """Adam (0.9, 0.999) with warm-up and clipping of the gradient's norm."""

    def __init__(self, parameters: Iterable[tuple[str, torch.nn.Parameter]], lr: float, warmup: int, max_norm: float):
        self.named = {name: p for name, p in parameters if p.requires_grad}
        self.lr, self.warmup, self.max_norm = lr, warmup, max_norm
        self.inner = torch.optim.Adam(list(self.named.values()), lr=lr, betas=(0.9, 0.999), fused=True)
        self.on_gradient: Callable[[], None] = lambda: None
        """called once a mini-batch, when its gradient is in place and not clipped yet; it may be none"""

    def rate(self, step: int) -> float:
        """The learning rate of a training step, counted from 1."""
        return self.lr * min(1.0, step / (self.warmup + 1))

    def step(self, step: int, what: str) -> float:
        """Move the parameters by their gradients and clear these; the norm before clipping.

        Raises ActFocusError, and moves nothing, where the gradient is not finite.
        """
        norm = float(torch.nn.utils.clip_grad_norm_(self.named.values(), self.max_norm))
        if not math.isfinite(norm):
            self.inner.zero_grad()
            raise ActFocusError(
                f"step {step}: the gradient of the {what} is not a finite number ({norm}); "
                "a smaller learning rate is the usual cure"
            )
        for group in self.inner.param_groups:
            group["lr"] = self.rate(step)
        self.inner.step()
        self.inner.zero_grad()
        return norm

    def parameters(self) -> dict[str, torch.Tensor]:
        """The trained parameters by name, to be stored."""
        return dict(self.named)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state as named tensors, to be stored."""
        return {
            f"{name}|{key}": value
            for name, p in self.named.items()
            for key, value in self.inner.state.get(p, {}).items()
        }

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take up stored parameters."""
        with torch.no_grad():
            for name, p in self.named.items():
                p.copy_(tensors[name])

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take up a stored state, in place of the present one."""
        self.inner.state.clear()
        for full, value in tensors.items():
            name, key = full.rsplit("|", 1)
            self.inner.state[self.named[name]][key] = value.to(self.named[name].device, copy=True)


def forward(
    model: SplitModel, micro: MicroBatch, entropy: bool = False, openings: SharedOpenings | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Log-probs of the response tokens, float32 [n], and the entropies of their distributions.

    ``openings``: those of the mini-batch, read already; without them every row is read whole. Logits are made at response tokens only. Where a backward pass would have to hold too many of
    them, each chunk is made again when its gradient is wanted.
    """
    hidden = openings.hidden(micro) if openings else model.hidden_at(micro.ids[:, :-1], micro.rows, micro.positions - 1)
    vocabulary = model.head.weight.shape[0]
    if not hidden.requires_grad or len(micro) * vocabulary > HELD_LOGITS:
        rows = chunk_rows(vocabulary, hidden.device)
    else:
        rows = len(micro)
    parts = []
    for h, y in zip(torch.split(hidden, rows), torch.split(micro.targets, rows)):
        again = hidden.requires_grad and rows < len(micro)
        parts.append(
            checkpoint(_of_chunk, model, h, y, entropy, use_reentrant=False)
            if again
            else _of_chunk(model, h, y, entropy)
        )
    logprobs, entropies = zip(*parts)
    return torch.cat(logprobs), torch.cat(entropies) if entropy else None


def _of_chunk(
    model: SplitModel, hidden: torch.Tensor, targets: torch.Tensor, entropy: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    logs = model.logits(hidden).log_softmax(-1)
    return logs.gather(1, targets[:, None])[:, 0], -(logs.exp() * logs).sum(-1) if entropy else None


def in_half(precision: str, device: torch.device) -> bool:
    """Whether a config's precision means bfloat16 on this device."""
    return precision == "bfloat16" or (precision == "auto" and device.type == "cuda")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The arithmetic of a forward pass; the parameters stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=in_half(precision, device))


def policy_step(
    model: SplitModel, adam: Adam, batch: TrainingBatch, rows: np.ndarray, z: np.ndarray, config: TrainConfig, step: int
) -> dict[str, float]:
    """One optimiser step of the policy on the trajectories ``rows``; ``z`` [n] as ``normalisers`` gives it.

    The columns of the batch: ``old_logprobs``, ``advantages``, ``weights``, ``keep``, ``clip_scale``, and
    where they are used ``ref_logprobs`` and ``units``. Returns the metrics of this step; where
    nothing in the mini-batch has a gradient, the policy is left as it is.
    """
    metrics = policy_gradient(model, batch, rows, z, config)
    adam.on_gradient()
    if metrics is None:
        return {"loss/skipped": 1.0}
    return {**metrics, "grad/norm": adam.step(step, "policy"), "loss/skipped": 0.0}


def policy_gradient(
    model: SplitModel, batch: TrainingBatch, rows: np.ndarray, z: np.ndarray, config: TrainConfig
) -> dict[str, float] | None:
    """Add the gradient of a mini-batch to the parameters; its metrics, or None where it is 0.

    Any ``micro_tokens`` gives the same gradient, to rounding. Without an entropy or KL term a
    trajectory whose advantages are all 0 has no gradient: it is counted in z and not computed.
    """
    everyone = rows
    if not (config.entropy_coef or config.kl_coef):
        rows = rows[~batch.without_gradient()[rows]]
    tokens, computed = batch.tokens(everyone), batch.tokens(rows)
    sums: dict[str, float] = {}
    device = model.head.weight.device
    openings = None
    if SharedOpenings.worth_it(model, batch, rows):
        with autocast(device, config.precision):
            openings = SharedOpenings(model, batch, rows, config.micro_tokens, device)
    for micro in batch.micro_batches(
        rows, config.micro_tokens, device, openings.read if openings else None, model.shares_prefixes
    ):
        with autocast(device, config.precision):
            loss, parts = _losses(model, micro, openings, z, config, tokens)
        torch.autograd.backward(loss)
        # Means over the micro-batch become its part of the mean over all that were computed.
        share = len(micro) / computed
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach()) * (1 if name in _SUMS else share)
    if openings:
        openings.backward()
    return sums or None


_SUMS = ("loss/policy", "loss/entropy", "loss/kl")
"""Losses: divided by the mini-batch's own divisor already."""


def _losses(
    model: SplitModel,
    micro: MicroBatch,
    openings: SharedOpenings | None,
    z: np.ndarray,
    config: TrainConfig,
    tokens: int,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of a micro-batch as a part of its mini-batch of ``tokens`` response tokens, and its parts."""
    logprobs, entropies = forward(model, micro, bool(config.entropy_coef), openings)
    result = _surrogate(micro, logprobs, micro.columns["weights"], z, config)
    loss, ones = result.loss, torch.ones_like(logprobs)
    parts = {
        "loss/policy": result.loss,
        "kl/update": result.approx_kl,
        "clip/low": result.clip_low,
        "clip/high": result.clip_high,
    }
    if config.entropy_coef:
        assert entropies is not None  # They are asked for.
        parts["loss/entropy"] = -config.entropy_coef * masked_mean(entropies, ones, tokens)
        loss = loss + parts["loss/entropy"]
    if config.kl_coef:
        kl = reference_kl(logprobs, micro.columns["ref_logprobs"], ones, config.kl_kind, tokens)
        parts["loss/kl"] = config.kl_coef * kl
        loss = loss + parts["loss/kl"]
    return loss, parts


def _surrogate(
    micro: MicroBatch, logprobs: torch.Tensor, weights: torch.Tensor, z: np.ndarray, config: TrainConfig
) -> PolicyLoss:
    """The policy loss of a micro-batch, with the given weights."""
    own = z[micro.chosen]
    divisor = float(own[0]) if np.ptp(own) == 0 else torch.from_numpy(own).to(logprobs)[micro.rows]
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
    model: SplitModel, adam: Adam, batch: TrainingBatch, rows: np.ndarray, z: np.ndarray, config: TrainConfig
) -> dict[str, float]:
    """How long the policy gradient of each kind of token alone is, and how they point to each other.

    The three gradients of a mini-batch add up to that of its policy loss. Costs one forward pass and
    three backward. Parameters and their ``grad`` stay as they are. A cosine with a gradient of
    length 0 is left out.
    """
    parameters, device = list(adam.named.values()), model.head.weight.device
    gradients = {kind: [torch.zeros_like(p) for p in parameters] for kind in RESPONSE_KINDS}
    rows = rows[~batch.without_gradient()[rows]]
    for micro in batch.micro_batches(rows, config.micro_tokens, device, shared=model.shares_prefixes):
        with autocast(device, config.precision):
            logprobs, _ = forward(model, micro)
            losses = {
                kind: _surrogate(
                    micro, logprobs, micro.columns["weights"] * (micro.columns["kinds"] == kind), z, config
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
    """One optimiser step of the critic on the same mini-batch. Columns: ``values``, ``value_targets``."""
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
    read: Mapping[int, int] | None = None,
    shared: bool = False,
) -> list[np.ndarray]:
    """float32 [T, *shape] a trajectory: ``of_micro(micro)`` [n, *shape] at its response tokens, NaN elsewhere.

    ``read``, ``shared``: as in ``TrainingBatch.micro_batches``.
    """
    batch = TrainingBatch(trajectories, {})
    values = [np.full((len(t), *shape), np.nan, np.float32) for t in trajectories]
    for micro in batch.micro_batches(np.arange(len(trajectories)), tokens, device, read, shared):
        with autocast(device, precision):
            numbers = of_micro(micro).float().cpu().numpy()
        rows, positions = micro.rows.cpu().numpy(), micro.positions.cpu().numpy()
        for b, i in enumerate(micro.chosen):
            values[i][positions[rows == b]] = numbers[rows == b]
    return values
