"""The clipped surrogate of weighted advantages, registered in verl as the policy loss ``actfocus``."""

from __future__ import annotations

from typing import Any

import torch
from verl.trainer.ppo.core_algos import register_policy_loss

from actfocus_core.errors import ActFocusError
from actfocus_core.losses import policy_loss


@register_policy_loss("actfocus")  # type: ignore[untyped-decorator]  # verl has no types
def clipped_surrogate(
    old_log_prob: torch.Tensor,
    log_prob: torch.Tensor,
    advantages: torch.Tensor,
    response_mask: torch.Tensor,
    loss_agg_mode: str = "token-mean",
    config: Any = None,
    rollout_is_weights: torch.Tensor | None = None,
) -> tuple[torch.Tensor, dict[str, float]]:
    """The method's policy loss for advantages that ``weighted`` has scaled, and metrics under verl's names.

    Raises ActFocusError for another aggregation mode, and if the number of tokens in the global mini-batch is unknown.
    """
    if loss_agg_mode != "token-mean":
        raise ActFocusError(
            f"loss_agg_mode={loss_agg_mode!r}: the weighted loss divides by the tokens of the mini-batch; "
            "use token-mean"
        )
    low = config.clip_ratio if config.clip_ratio_low is None else config.clip_ratio_low
    high = config.clip_ratio if config.clip_ratio_high is None else config.clip_ratio_high
    mask = response_mask.to(log_prob.dtype)
    # Outside the mask verl pads with 0; the log-probs there have no effect.
    weights = mask if rollout_is_weights is None else mask * rollout_is_weights
    info = config.global_batch_info
    tokens = info.get("batch_num_tokens") or mask.sum()
    if info.get("batch_num_tokens") is None and info.get("dp_size", 1) > 1:
        raise ActFocusError(
            "batch_num_tokens is missing with several data-parallel ranks; use the version of verl in constraints-verl.txt"
        )
    result = policy_loss(log_prob, old_log_prob, advantages, weights, mask, low, high, tokens / info.get("dp_size", 1))
    return result.loss, {
        "actor/pg_clipfrac": float(result.clip_low + result.clip_high),
        "actor/ppo_kl": float(result.approx_kl),
        "actor/pg_clipfrac_lower": 0.0,
        "actor/clip_low": float(result.clip_low),
        "actor/clip_high": float(result.clip_high),
    }
