"""ActFocus inside verl 0.9: weights by kind and reference energy, on Ray, FSDP and vLLM or SGLang.

    VERL_USE_EXTERNAL_MODULES=actfocus_core.plugins.verl python -m verl.trainer.main_ppo \\
        trainer.v1.trainer_mode=actfocus actor_rollout_ref.model.model_type=actfocus \\
        actor_rollout_ref.actor.policy_loss.loss_mode=actfocus actor_rollout_ref.actor.loss_agg_mode=token-mean \\
        actor_rollout_ref.actor.use_kl_loss=True actor_rollout_ref.actor.kl_loss_coef=0 ...

Three things are put into verl's own registries under the name ``actfocus``: a trainer, a model engine, a policy loss.
The reference's pass of the engine also gives the energy; the trainer finds the kinds on the ids and adds a weight a
token to the batch, with mu and sigma over the whole of it; before an update the engine multiplies the advantages by
w N / sum(w) (method.md section 4), with N and the sum over the mini-batch of all data-parallel ranks; the loss is the
clipped surrogate without verl's second clip. Advantages, PPO's or GRPO's, are verl's own, and so are KL and entropy.
``ACTFOCUS_PARAMS`` in the environment: alpha, beta, signal, format_weight as JSON.
"""

from __future__ import annotations

import inspect
import json
import os

import numpy as np
import torch
import verl
from tensordict import TensorDict
from verl.trainer.ppo.core_algos import agg_loss, register_policy_loss

from actfocus_core.credit.weights import check_parameters, token_weights
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.layout import Layout
from actfocus_core.interop.samples import Sample, Tokens
from actfocus_core.losses import policy_loss
from actfocus_core.policy.logits import chunk_rows
from actfocus_core.spans import span_rule
from actfocus_core.trajectory import TokenKind

TESTED = "0.9."
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


def token_kinds(prompts: list[list[int]], responses: list[list[int]], sampled: list[list[int]], layout: Layout) -> list[np.ndarray]:
    """uint8 [R_i] a row: kinds of the response tokens, TEMPLATE or USER where ``sampled`` is 0. Spans are found on the ids."""
    samples = []
    for i, (prompt, response, mask) in enumerate(zip(prompts, responses, sampled)):
        ids = np.array([*prompt, *response], np.int32)
        chosen = np.array([*[0] * len(prompt), *mask], bool)
        samples.append(Sample(f"row {i}", Tokens(ids, chosen, np.full(len(ids), np.nan, np.float32)), str(i), reward=0.0))
    return [t.kinds[len(prompt):] for t, prompt in zip(layout.trajectories(samples), prompts)]


def weigh(kinds: list[np.ndarray], signal: list[np.ndarray] | None, p: dict) -> list[np.ndarray]:
    """float32 [R_i] a row: w of every response token; mu and sigma over all rows (method.md section 3)."""
    ends = np.cumsum([len(k) for k in kinds])[:-1]
    flat = None if signal is None else np.concatenate(signal)
    return np.split(token_weights(np.concatenate(kinds), flat, p["alpha"], p["beta"], p["format_weight"]), ends)


# --- in every data-parallel rank: the normaliser and the loss ----------------------------------------


def weighted(data: TensorDict, group=None) -> TensorDict:
    """A mini-batch's part on this rank with its advantages times w N / sum(w); both sums over all ranks of ``group``.

    ``advantages``, ``actfocus_weights`` and ``response_mask`` of one shape: padded [B, R] or nested. The input stays as it is.
    """
    nested = data["advantages"].is_nested
    take = (lambda name: data[name].values()) if nested else (lambda name: data[name])
    mask, weights, advantages = take("response_mask"), take(WEIGHTS), take("advantages")
    counted = mask.to(torch.float32)
    sums = torch.stack([counted.sum(), (weights * counted).sum()])
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(sums, group=group)
    tokens, mass = sums.tolist()
    scaled = advantages * weights * (tokens / mass if mass else 0.0)
    changed = data.copy()
    changed["advantages"] = torch.nested.nested_tensor_from_jagged(scaled, data["advantages"].offsets()) if nested else scaled
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
    return torch.cat([-part.float().logsumexp(-1) for part in logits.split(chunk_rows(logits.shape[-1]))])
