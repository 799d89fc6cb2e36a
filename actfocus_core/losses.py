"""The clipped surrogate with token weights, and what may stand beside it (method.md section 4).

Every function takes tensors of one shape, [B, T] or [N], with a mask of the response tokens,
and returns a scalar that can be summed over micro-batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from actfocus_core.errors import ActFocusError


@dataclass(frozen=True)
class PolicyLoss:
    """The loss and what is worth logging of it; all scalars."""

    loss: torch.Tensor
    clip_low: torch.Tensor
    """share of response tokens whose ratio was clipped from below, with A < 0"""
    clip_high: torch.Tensor
    """share of response tokens whose ratio was clipped from above, with A > 0"""
    approx_kl: torch.Tensor
    """mean of (rho - 1) - log rho over response tokens: KL(old || new), k3"""


def policy_loss(logprobs: torch.Tensor, old_logprobs: torch.Tensor, advantages: torch.Tensor,
                weights: torch.Tensor, mask: torch.Tensor, clip_low: float = 0.2, clip_high: float = 0.28,
                normaliser: torch.Tensor | float | None = None) -> PolicyLoss:
    """L = -(1 / Z) sum_t w_t min(rho_t A_t, clip(rho_t, 1 - clip_low, 1 + clip_high) A_t).

    All tensors of one shape; ``mask`` is 1 on response tokens. ``normaliser`` Z: by default the sum
    of w over these tokens; give the sum over the whole scope (mini-batch, batch) where this is a
    micro-batch of it, and the micro-batches' losses add up to the loss of the scope. Raises
    ActFocusError for a clip range below 0. Source: paper section 4; the scope of Z is ours.
    """
    if clip_low < 0 or clip_high < 0:
        raise ActFocusError(f"clip_low={clip_low}, clip_high={clip_high}: must be 0 or above")
    mask = mask.to(logprobs.dtype)
    # Outside the mask log-probs may be anything, NaN included: they must not reach the sum.
    log_ratio = torch.where(mask > 0, logprobs - old_logprobs, 0.0)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    surrogate = torch.minimum(ratio * advantages, clipped * advantages)
    weights = weights * mask
    total = weights.sum() if normaliser is None else normaliser
    tokens = mask.sum().clamp(min=1)
    with torch.no_grad():
        low = ((ratio < 1 - clip_low) & (advantages < 0)).to(mask.dtype)
        high = ((ratio > 1 + clip_high) & (advantages > 0)).to(mask.dtype)
        kl = ((ratio - 1 - log_ratio) * mask).sum() / tokens
    return PolicyLoss(-(weights * surrogate).sum() / total, (low * mask).sum() / tokens,
                      (high * mask).sum() / tokens, kl)
