"""ActFocus inside verl 0.9: weights by kind and reference energy, in verl's own batches.

What the processes of a cluster call: ``energies`` in the reference's pass, ``weighted`` before a mini-batch is trained on (its
advantages times w N / sum(w), method.md section 4, both sums over all data-parallel ranks), and the policy loss that is
registered as ``actfocus``: the clipped surrogate, without verl's second clip. Advantages, PPO's or GRPO's, are verl's own; KL and
entropy stay unweighted. ``verl_ray`` puts these into a trainer and an engine; its driver makes the weights, with
``plugins.batch``. ``ACTFOCUS_PARAMS`` in the environment: alpha, beta, signal, format_weight and spans as JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from actfocus_core.errors import ActFocusError
from actfocus_core.extras import demand
from actfocus_core.plugins.contract import check_version

verl = demand("verl", "verl")
TESTED = "0.9"
check_version(verl, TESTED)

import torch
from tensordict import TensorDict
from verl.trainer.ppo.core_algos import register_policy_loss

from actfocus_core.losses import policy_loss
from actfocus_core.plugins.batch import DEFAULTS, complete
from actfocus_core.policy.split_model import chunk_rows
from actfocus_core.spans import span_rule

WEIGHTS, ENERGY = "actfocus_weights", "ref_energy"
"""Fields of verl's batch, [B, R] over the response."""


def parameters() -> dict[str, Any]:
    """alpha, beta, signal, format_weight and spans from ``ACTFOCUS_PARAMS``. Raises ActFocusError for one that is wrong."""
    text = os.environ.get("ACTFOCUS_PARAMS")
    if text is None:
        raise ActFocusError(
            "ACTFOCUS_PARAMS is not set in the process that drives the training; a cluster that was started before needs "
            "it in ray_kwargs.ray_init.runtime_env.env_vars, like VERL_USE_EXTERNAL_MODULES"
        )
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ActFocusError(f"ACTFOCUS_PARAMS={text!r}: is not JSON ({error})") from None
    if not isinstance(given, dict):
        raise ActFocusError(f"ACTFOCUS_PARAMS={text!r}: must be an object with {', '.join((*DEFAULTS, 'spans'))}")
    spans = given.pop("spans", "think_answer")
    span_rule(spans)
    return {**complete(given, ("energy", "nll", "shift"), "ACTFOCUS_PARAMS"), "spans": spans}


# --- in every data-parallel rank: the normaliser and the loss ----------------------------------------


def weighted(
    data: TensorDict, group: torch.distributed.ProcessGroup | None = None, device: str | int = "cpu"
) -> TensorDict:
    """A mini-batch's part on this rank with its advantages times w N / sum(w); both sums over all ranks of ``group``,
    added up on ``device``.

    ``advantages``, ``actfocus_weights`` and ``response_mask`` of one shape: padded [B, R] or nested. The input stays as it is.
    """
    nested = data["advantages"].is_nested
    take: Callable[[str], torch.Tensor] = (lambda name: data[name].values()) if nested else (lambda name: data[name])
    mask, weights, advantages = take("response_mask"), take(WEIGHTS), take("advantages")
    counted = mask.to(torch.float32)
    sums = torch.stack([counted.sum(), (weights * counted).sum()]).to(device)
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(sums, group=group)
    tokens, mass = sums.tolist()
    scaled = advantages * weights * (tokens / mass if mass else 0.0)
    changed = data.copy()
    if nested:
        # From rows: made from offsets alone, it would be padded to the length of all rows together.
        scaled = torch.nested.as_nested_tensor(
            list(torch.split(scaled, data["advantages"].offsets().diff().tolist())), layout=torch.jagged
        )
    changed["advantages"] = scaled
    return changed


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
    """verl's policy loss: the method's, of advantages that have been through ``weighted``; metrics as verl names them."""
    if loss_agg_mode != "token-mean":
        raise ActFocusError(
            f"loss_agg_mode={loss_agg_mode!r}: the weighted loss divides by the tokens of the mini-batch, "
            "which in verl is token-mean"
        )
    low = config.clip_ratio if config.clip_ratio_low is None else config.clip_ratio_low
    high = config.clip_ratio if config.clip_ratio_high is None else config.clip_ratio_high
    mask = response_mask.to(log_prob.dtype)
    # Outside the mask verl pads with 0; log-probs there do not matter.
    weights = mask if rollout_is_weights is None else mask * rollout_is_weights
    info = config.global_batch_info
    tokens = info.get("batch_num_tokens") or mask.sum()
    if info.get("batch_num_tokens") is None and info.get("dp_size", 1) > 1:
        raise ActFocusError(
            "batch_num_tokens is not given with several data-parallel ranks: another verl than this was written for"
        )
    found = policy_loss(log_prob, old_log_prob, advantages, weights, mask, low, high, tokens / info.get("dp_size", 1))
    return found.loss, {
        "actor/pg_clipfrac": float(found.clip_low + found.clip_high),
        "actor/ppo_kl": float(found.approx_kl),
        "actor/pg_clipfrac_lower": 0.0,
        "actor/clip_low": float(found.clip_low),
        "actor/clip_high": float(found.clip_high),
    }


def energies(logits: torch.Tensor) -> torch.Tensor:
    """float32 [N]: -logsumexp of raw logits [N, V], a few rows at a time."""
    return torch.cat(
        [-part.float().logsumexp(-1) for part in torch.split(logits, chunk_rows(logits.shape[-1], logits.device))]
    )
