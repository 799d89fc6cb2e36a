"""The clipped surrogate loss with token weights, and the KL and value losses (method.md section 4).

Every function takes tensors of the same shape, [B, T] or [N], with a mask of the response tokens, and returns scalars. Values
outside the mask, including NaN, affect neither the result nor the gradient. A micro-batch takes the ``normaliser`` of the
scope it belongs to, so that the losses and gradients of the micro-batches sum to those of the scope.

The formulas do not bound the ratio, so it is limited only where its dtype overflows: a log-ratio above 88.7 in float32, or 11
in float16, gives the largest finite number, which is also used as the derivative. A token that is clipped, or has weight 0 or
advantage 0, therefore has a gradient of exactly 0 and not 0 times infinity. A token with A < 0 is not clipped from above, and
its loss there overflows. Its gradient stays as large as the dtype allows, and the optimiser refuses the step
(``train.update.Adam``); clamping the log-ratio would silently set this gradient to 0 and drop the token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch

from actfocus_core.errors import ActFocusError

Scope = Literal["minibatch", "trajectory", "batch"]
KLKind = Literal["k1", "k2", "k3"]


@dataclass(frozen=True)
class PolicyLoss:
    """The policy loss and its statistics; all scalars."""

    loss: torch.Tensor
    clip_low: torch.Tensor
    """fraction of response tokens with A < 0 whose ratio was clipped from below"""
    clip_high: torch.Tensor
    """fraction of response tokens with A > 0 whose ratio was clipped from above"""
    approx_kl: torch.Tensor
    """mean of (rho - 1) - log rho over the response tokens: the k3 estimate of KL(old || new)"""


def policy_loss(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    weights: torch.Tensor,
    mask: torch.Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    normaliser: torch.Tensor | float | None = None,
    clip_scale: torch.Tensor | float = 1.0,
    units: torch.Tensor | None = None,
) -> PolicyLoss:
    """L = -(1 / Z) sum_t w_t min(rho_t A_t, clip(rho_t, 1 - clip_low, 1 + clip_high) A_t).

    All tensors have the same shape; ``mask`` is 1 on response tokens. ``normaliser`` Z: by default the sum of w over these
    tokens (the loss is 0 if all weights are 0); for a micro-batch the Z of its scope, a scalar or one number per token
    (``normalisers``). ``clip_scale``: scale of the clip range, a scalar or one number per token. ``units``: int64, at least 0,
    the turn or trajectory of each token; rho of a token is then exp of the mean log-ratio over the response tokens of its unit
    (GSPO, arXiv 2507.18071), all of which must be in these tensors. Raises ActFocusError for a negative clip range. Source:
    paper section 4; the scope of Z is ours.
    """
    if clip_low < 0 or clip_high < 0:
        raise ActFocusError(f"clip_low={clip_low}, clip_high={clip_high}: must be 0 or above")
    mask = mask.to(logprobs.dtype)
    inside = mask > 0
    # Select before any arithmetic: in the backward pass 0 times NaN would be NaN.
    log_ratio = _select(inside, logprobs) - _select(inside, old_logprobs)
    advantages, weights = _select(inside, advantages), _select(inside, weights) * mask
    if units is not None:
        log_ratio = _unit_means(log_ratio, mask, units)
    ratio = _exp(log_ratio)
    low, high = 1 - clip_low * clip_scale, 1 + clip_high * clip_scale
    if isinstance(low, torch.Tensor) and isinstance(high, torch.Tensor):
        clipped = ratio.maximum(low).minimum(high)
    else:
        clipped = ratio.clamp(float(low), float(high))
    counted = weights != 0
    # With A < 0 the surrogate can be infinite, so tokens of weight 0 are masked and not multiplied by 0.
    surrogate = _select(counted, torch.minimum(ratio * advantages, clipped * advantages))
    total = torch.where(counted.any(), weights.sum(), 1.0) if normaliser is None else normaliser
    tokens = mask.sum().clamp(min=1)
    with torch.no_grad():
        below = ((ratio < low) & (advantages < 0)).to(mask.dtype)
        above = ((ratio > high) & (advantages > 0)).to(mask.dtype)
        kl = (_select(inside, ratio - 1 - log_ratio.clamp(max=_edge(log_ratio))) * mask).sum() / tokens
    one = not isinstance(total, torch.Tensor) or total.ndim == 0
    loss = (
        -(weights * surrogate).sum() / total if one else -(weights * surrogate / torch.where(counted, total, 1.0)).sum()
    )
    return PolicyLoss(loss, (below * mask).sum() / tokens, (above * mask).sum() / tokens, kl)


def _exp(x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = _Exp.apply(x)  # type: ignore[no-untyped-call]  # not typed in torch
    return result


class _Exp(torch.autograd.Function):
    """exp, clamped to the largest finite number of the dtype; the derivative is the value, also where it is clamped."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        result = x.exp().clamp_(max=torch.finfo(x.dtype).max)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor
        (result,) = ctx.saved_tensors
        return grad * result


def _edge(x: torch.Tensor) -> float:
    """The largest number whose exp is finite in the dtype, up to rounding."""
    return math.log(torch.finfo(x.dtype).max)


def _select(mask: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The values where the bool mask is True, and 0 without gradient elsewhere."""
    return torch.where(mask, values, 0.0)


def _unit_means(values: torch.Tensor, mask: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    """Replace the value of every token by the mean over the masked tokens of its unit."""
    index, flat, counted = units.reshape(-1), (values * mask).reshape(-1), mask.reshape(-1)
    sums = torch.zeros(int(index.max()) + 1, dtype=values.dtype, device=values.device)
    means = sums.index_add(0, index, flat) / sums.index_add(0, index, counted).clamp(min=1)
    return means[index].reshape(values.shape)


def normalisers(
    masses: np.ndarray, minibatches: list[np.ndarray], scope: Scope, divisor: float | None = None
) -> np.ndarray:
    """The normaliser Z_i of every trajectory, such that L = -sum_i (1 / Z_i) sum_{t in i} w_t min(...).

    ``masses`` [n]: sum of w over the response tokens of each trajectory. ``minibatches``: M index arrays that partition the n
    trajectories. Scope ``minibatch``: Z is the sum of w over the mini-batch (method.md section 4). ``trajectory``: a weighted
    mean within each trajectory, averaged over the mini-batch (GRPO as published). ``batch``: Z is the sum of w over the batch,
    divided by M, so that the mean of the M losses is the loss of the batch. ``divisor``: a constant for the whole batch in
    place of the sums of w (``Credit.divisor``, Dr.GRPO), divided among mini-batches by their number of trajectories. Returns
    float64 [n], with 1 in place of 0. Raises ActFocusError for an unknown scope.
    """
    masses = np.asarray(masses, np.float64)
    z = np.ones(len(masses))
    if divisor is not None:
        for rows in minibatches:
            z[rows] = divisor * len(rows) / len(masses)
        return z
    for rows in minibatches:
        if scope == "minibatch":
            z[rows] = masses[rows].sum()
        elif scope == "trajectory":
            z[rows] = masses[rows] * len(rows)
        elif scope == "batch":
            z[rows] = masses.sum() / len(minibatches)
        else:
            raise ActFocusError(f"normaliser {scope!r}: must be one of {', '.join(get_args(Scope))}")
    return np.where(z == 0, 1.0, z)


def reference_kl(
    logprobs: torch.Tensor,
    reference: torch.Tensor,
    mask: torch.Tensor,
    kind: KLKind = "k3",
    normaliser: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """KL penalty: an estimate of KL(pi || reference) from sampled tokens, the mean over response tokens.

    With d = log pi(y) - log pi_ref(y), the estimate of a token is d (k1), d^2 / 2 (k2) or exp(-d) - 1 + d (k3). On samples of
    the policy k1 and k3 are unbiased; the gradient is that of the formula through log pi(y) only (for k1 zero in expectation,
    as published). ``normaliser``: the number of response tokens of the scope. Raises ActFocusError for an unknown kind.
    Source: http://joschu.net/blog/kl-approx.html.
    """
    if kind not in get_args(KLKind):
        raise ActFocusError(f"kl kind {kind!r}: must be one of {', '.join(get_args(KLKind))}")
    d = _select(mask > 0, logprobs) - _select(mask > 0, reference)
    # d is clamped where exp(-d) overflows: the largest finite number minus infinity would be negative.
    values = d if kind == "k1" else d * d / 2 if kind == "k2" else _exp(-d) - 1 + d.clamp(min=-_edge(d))
    return masked_mean(values, mask, normaliser)


def value_loss(
    values: torch.Tensor,
    old_values: torch.Tensor,
    targets: torch.Tensor,
    mask: torch.Tensor,
    clip: float | None = None,
    normaliser: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """Half the squared error of the critic, averaged over response tokens.

    ``clip``: the loss of a token is the larger of the errors of its value and of its value clipped to within ``clip`` of
    ``old_values`` (as in PPO2, arXiv 2005.12729). Raises ActFocusError if ``clip`` is not positive.
    """
    if clip is not None and not clip > 0:
        raise ActFocusError(f"value clip {clip}: must be positive, or None")
    values, old_values, targets = (_select(mask > 0, one) for one in (values, old_values, targets))
    error = (values - targets) ** 2
    if clip is not None:
        near = old_values + (values - old_values).clamp(-clip, clip)
        error = torch.maximum(error, (near - targets) ** 2)
    return masked_mean(error / 2, mask, normaliser)


def masked_mean(
    values: torch.Tensor, mask: torch.Tensor, normaliser: torch.Tensor | float | None = None
) -> torch.Tensor:
    """The sum of the values where the mask is set, divided by ``normaliser``, by default their number."""
    selected = _select(mask > 0, values)
    return selected.sum() / (mask.to(values.dtype).sum().clamp(min=1) if normaliser is None else normaliser)
