"""ActFocus inside verl 0.9: weights by kind and reference energy, in verl's own batches.

What the processes of a cluster call: ``read_rows`` and ``weigh`` on the driver (kinds found on the ids; mu and sigma over
the whole batch), ``energies`` in the reference's pass, ``weighted`` before a mini-batch is trained on (its advantages times
w N / sum(w), method.md section 4, both sums over all data-parallel ranks), and the policy loss that is registered as
``actfocus``: the clipped surrogate, without verl's second clip. Advantages, PPO's or GRPO's, are verl's own; KL and entropy
stay unweighted. ``verl_ray`` puts these into a trainer and an engine. ``ACTFOCUS_PARAMS`` in the environment: alpha, beta,
signal, format_weight and spans as JSON.
"""

from __future__ import annotations

import json
import os

import numpy as np
import torch
from tensordict import TensorDict
from verl.trainer.ppo.core_algos import register_policy_loss

from actfocus_core.credit.weights import check_parameters, token_weights
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.layout import Layout
from actfocus_core.interop.samples import Sample, Tokens
from actfocus_core.losses import policy_loss
from actfocus_core.policy.logits import chunk_rows
from actfocus_core.signals import signal_values
from actfocus_core.trajectory import Trajectory

WEIGHTS, ENERGY = "actfocus_weights", "ref_energy"
"""Fields of verl's batch, [B, R] over the response."""


def parameters() -> dict:
    """alpha, beta, signal, format_weight and spans from ``ACTFOCUS_PARAMS``. Raises ActFocusError for one that is wrong."""
    text = os.environ.get("ACTFOCUS_PARAMS", "{}")
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ActFocusError(f"ACTFOCUS_PARAMS={text!r}: is not JSON ({error})") from None
    p = {"alpha": 0.1, "beta": 0.5, "signal": "energy", "format_weight": None, "spans": "think_answer"}
    if not isinstance(given, dict) or set(given) - set(p):
        raise ActFocusError(f"ACTFOCUS_PARAMS={text!r}: must be an object with {', '.join(p)}")
    p |= given
    check_parameters(p["alpha"], p["beta"], p["format_weight"])
    if p["signal"] not in ("energy", "nll", "shift"):
        raise ActFocusError(f"signal {p['signal']!r}: in verl there are energy, nll, shift")
    return p


# --- on the driver: a weight a token, from the whole batch -------------------------------------------


def read_rows(prompts: list[list[int]], responses: list[list[int]], sampled: list[list[int]], layout: Layout,
              rewards: list[float] | None = None, groups: list[str] | None = None, step: int = 0) -> list[Trajectory]:
    """The rows of verl's batch as trajectories; ``sampled`` is its response mask. Spans are found on the ids."""
    samples = []
    for i, (prompt, response, mask) in enumerate(zip(prompts, responses, sampled)):
        ids = np.array([*prompt, *response], np.int32)
        chosen = np.array([*[0] * len(prompt), *mask], bool)
        blank = np.full(len(ids), np.nan, np.float32)
        samples.append(Sample(f"row {i}", Tokens(ids, chosen, blank, {"entropy": blank}), groups[i] if groups else str(i), step,
                              reward=rewards[i] if rewards else 0.0))
    return layout.trajectories(samples)


def weigh(trajectories: list[Trajectory], p: dict) -> list[np.ndarray]:
    """float32 [T] a trajectory: w of every token; mu and sigma over all of them (method.md section 3)."""
    ends = np.cumsum([len(t) for t in trajectories])[:-1]
    signal = np.concatenate([signal_values(t, p["signal"]) for t in trajectories]) if p["beta"] else None
    kinds = np.concatenate([t.kinds for t in trajectories])
    return np.split(token_weights(kinds, signal, p["alpha"], p["beta"], p["format_weight"]), ends)


# --- in every data-parallel rank: the normaliser and the loss ----------------------------------------


def weighted(data: TensorDict, group=None, device: str | int = "cpu") -> TensorDict:
    """A mini-batch's part on this rank with its advantages times w N / sum(w); both sums over all ranks of ``group``,
    added up on ``device``.

    ``advantages``, ``actfocus_weights`` and ``response_mask`` of one shape: padded [B, R] or nested. The input stays as it is.
    """
    nested = data["advantages"].is_nested
    take = (lambda name: data[name].values()) if nested else (lambda name: data[name])
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
        scaled = torch.nested.as_nested_tensor(list(scaled.split(data["advantages"].offsets().diff().tolist())), layout=torch.jagged)
    changed["advantages"] = scaled
    return changed


@register_policy_loss("actfocus")
def clipped_surrogate(old_log_prob, log_prob, advantages, response_mask, loss_agg_mode="token-mean", config=None,
                      rollout_is_weights=None):
    """verl's policy loss: the method's, of advantages that have been through ``weighted``; metrics as verl names them."""
    if loss_agg_mode != "token-mean":
        raise ActFocusError(f"loss_agg_mode={loss_agg_mode!r}: the weighted loss divides by the tokens of the mini-batch, "
                            "which in verl is token-mean")
    low = config.clip_ratio if config.clip_ratio_low is None else config.clip_ratio_low
    high = config.clip_ratio if config.clip_ratio_high is None else config.clip_ratio_high
    mask = response_mask.to(log_prob.dtype)
    # Outside the mask verl pads with 0; log-probs there do not matter.
    weights = mask if rollout_is_weights is None else mask * rollout_is_weights
    info = config.global_batch_info
    tokens = info.get("batch_num_tokens") or mask.sum()
    if info.get("batch_num_tokens") is None and info.get("dp_size", 1) > 1:
        raise ActFocusError("batch_num_tokens is not given with several data-parallel ranks: another verl than this was written for")
    found = policy_loss(log_prob, old_log_prob, advantages, weights, mask, low, high, tokens / info.get("dp_size", 1))
    return found.loss, {"actor/pg_clipfrac": float(found.clip_low + found.clip_high), "actor/ppo_kl": float(found.approx_kl),
                        "actor/pg_clipfrac_lower": 0.0}


def energies(logits: torch.Tensor) -> torch.Tensor:
    """float32 [N]: -logsumexp of raw logits [N, V], a few rows at a time."""
    return torch.cat([-part.float().logsumexp(-1) for part in logits.split(chunk_rows(logits.shape[-1], logits.device))])
