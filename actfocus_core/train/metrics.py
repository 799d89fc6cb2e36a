"""The names in metrics.jsonl, one row a training step; row 0 is the evaluation before training.

A number that was not measured in a step is not in its row. ``explain`` says what a name means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import SupportsFloat

import numpy as np

from actfocus_core.analysis.diagnostics import gradient_mass
from actfocus_core.credit import Batch, Credit
from actfocus_core.errors import ActFocusError
from actfocus_core.outcomes import mean_known, rollouts_of, success_rate
from actfocus_core.signals import signal_values
from actfocus_core.trajectory import TokenKind, Trajectory

METRICS = {
    "step": "training step; 0 is before training",
    "reward/return": "mean return of the rollouts: rewards and penalties",
    "reward/reward": "mean of the environment's rewards alone",
    "reward/penalty": "mean of the format penalties alone",
    "reward/unknown": "rollouts whose return is not known; the means leave them out",
    "success/rate": "share of the rollouts that reached the goal, at the training temperature",
    "success/unknown": "rollouts of which it is not known whether they did; the share leaves them out",
    "format/well_formed": "share of turns with a well-formed reply: the demanded thinking and an answer",
    "format/legal": "share of turns with a well-formed reply whose actions are all legal",
    "format/collapsed": "1 where the well-formed share is below format_floor",
    "groups/total": "groups rolled out",
    "groups/kept": "groups left by the filter",
    "groups/zero_spread": "share of the kept groups whose returns are all equal: their GRPO advantages are 0",
    "groups/return_std": "mean over the groups rolled out of the standard deviation of their returns",
    "tokens/sampled": "response tokens of all rollouts",
    "tokens/trained": "response tokens of the kept trajectories that are in the loss",
    "tokens/response_mean": "response tokens a trajectory",
    "tokens/per_second": "sampled tokens over the seconds of the step, without evaluation",
    "loss/policy": "weighted clipped surrogate, mean over the optimiser steps",
    "loss/entropy": "minus the entropy coefficient times the mean entropy",
    "loss/kl": "KL coefficient times the mean KL to the reference",
    "loss/value": "half the squared error of the critic",
    "loss/skipped": "share of the optimiser steps left out because nothing in them had a gradient",
    "kl/update": "mean KL(old || new) over the updated tokens while updating (k3)",
    "kl/reference": "mean KL(policy || reference) over the kept response tokens before the update (k3)",
    "kl/rollout": "mean KL between sampler and trainer on the same weights (k3): rounding, and no more",
    "ratio/rollout_mean": "mean |log ratio| of the trainer's to the sampler's probability of a sampled token, same weights",
    "ratio/rollout_max": "the largest of these",
    "entropy/mean": "entropy of the policy at its response tokens, nats, at temperature 1 (vLLM: at the kept ones)",
    "entropy/reasoning": "the same at reasoning tokens",
    "entropy/action": "the same at action tokens",
    "clip/low": "share of response tokens with the ratio clipped from below and A < 0",
    "clip/high": "share of response tokens with the ratio clipped from above and A > 0",
    "grad/norm": "norm of the policy's gradient before clipping, mean over the optimiser steps",
    "grad/critic_norm": "the same of the critic",
    "grad/lr": "the policy's learning rate",
    "critic/value_mean": "mean of the critic's values at response tokens before the update",
    "critic/explained": "1 - variance of (target - value) / variance of the targets, before the update",
    "mass/reasoning": "share of the weight on reasoning tokens (nominal)",
    "mass/action": "share of the weight on action tokens (nominal)",
    "mass/format": "share of the weight on format tokens (nominal)",
    "mass/action_tokens": "share of action tokens among the response tokens",
    "mass/effective_tokens": "number of equally weighted tokens that would spread the weight as much",
    "mass/gradient_reasoning": "norm of the policy gradient from reasoning tokens alone (measured)",
    "mass/gradient_action": "norm of the policy gradient from action tokens alone (measured)",
    "mass/gradient_format": "norm of the policy gradient from format tokens alone (measured)",
    "mass/cosine_reasoning_action": "cosine between the gradients of reasoning and of action",
    "mass/cosine_format_action": "cosine between the gradients of format and of action",
    "mass/cosine_reasoning_format": "cosine between the gradients of reasoning and of format",
    "seconds/rollout": "playing the episodes",
    "seconds/score": "the frozen reference's pass over the kept trajectories, and the weights",
    "seconds/values": "the critic's pass before the update",
    "seconds/update": "gradients and optimiser steps",
    "seconds/measure": "measuring the gradient of each kind",
    "seconds/evaluate": "evaluation",
    "seconds/store": "writing the rollouts",
    "seconds/elapsed": "since the beginning of the training, pauses left out",
}
EVALUATION = {
    "success": "success on the evaluation set at this temperature",
    "success_low": "lower end of its 95 % interval over prompts",
    "success_high": "upper end of its 95 % interval over prompts",
    "return": "mean return on the evaluation set",
    "well_formed": "share of well-formed turns on the evaluation set",
    "legal": "share of turns with legal actions on the evaluation set",
    "trajectories": "number of trajectories evaluated",
    "purchase": "share of WebShop episodes that bought anything",
    "strict_success": "share of WebShop episodes whose purchase met every demand",
}
"""Under ``eval/tT/``, T the temperature."""


def explain(name: str) -> str:
    """The meaning of a metric. Raises ActFocusError for an unknown name."""
    if name in METRICS:
        return METRICS[name]
    group, _, last = name.rpartition("/")
    if group.startswith("eval/t") and last in EVALUATION:
        return EVALUATION[last]
    raise ActFocusError(f"unknown metric {name!r}")


def of_rollouts(trajectories: Sequence[Trajectory], selected: Sequence[Trajectory]) -> dict[str, float]:
    """Metrics of the rollouts of a step, and of those that the filter selected."""
    once = rollouts_of(trajectories)
    returns: dict[str, list[float]] = {}
    for t in once:
        returns.setdefault(t.group, []).append(t.ret)
    spread = {group: _std(r) for group, r in returns.items()}
    groups = list(dict.fromkeys(t.group for t in selected if t.trainable))
    means = {
        "reward/return": mean_known(t.ret for t in once),
        "reward/reward": mean_known(t.reward for t in once),
        "reward/penalty": mean_known(t.penalty for t in once),
        "success/rate": success_rate(trajectories),
    }
    unknown = {
        f"{name}/unknown": means[of].unknown for name, of in (("reward", "reward/return"), ("success", "success/rate"))
    }
    kinds = np.concatenate([t.kinds for t in trajectories])
    entropy = np.concatenate([t.signals["entropy"] for t in trajectories])
    sampled, known = int((kinds >= TokenKind.REASONING).sum()), np.isfinite(entropy)
    metrics: dict[str, SupportsFloat] = {
        **{name: found.mean for name, found in means.items() if found.known},
        **{name: count for name, count in unknown.items() if count},
        "format/well_formed": well_formed(trajectories),
        "format/legal": legal(trajectories),
        "groups/total": len(returns),
        "groups/kept": len(groups),
        "groups/zero_spread": np.mean([spread[g] == 0 for g in groups]),
        "groups/return_std": np.mean([*spread.values()]),
        "tokens/sampled": sampled,
        "tokens/trained": sum(int(t.loss_mask.sum()) for t in selected),
        "tokens/response_mean": sampled / len(trajectories),
    }
    for name, chosen in (
        ("mean", kinds >= TokenKind.REASONING),
        ("reasoning", kinds == TokenKind.REASONING),
        ("action", kinds == TokenKind.ACTION),
    ):
        if (chosen & known).any():
            metrics[f"entropy/{name}"] = entropy[chosen & known].mean()
    return {name: float(value) for name, value in metrics.items()}


def _std(returns: list[float]) -> float:
    """The standard deviation of the returns that are known; equal ones have none, whatever their rounding."""
    known = np.array(returns)[np.isfinite(returns)]
    return float(np.std(known)) if len(known) and np.ptp(known) else 0.0


def of_credit(batch: Batch, credit: Credit) -> dict[str, float]:
    """How the weight is distributed over the kinds of token, before any advantage."""
    mass = gradient_mass(batch.kinds, credit.weight * credit.keep)
    shares = {f"mass/{kind}": row["mass_share"] for kind, row in mass["kinds"].items() if mass["mass"]}
    return {
        **shares,
        "mass/action_tokens": mass["kinds"]["action"]["token_share"],
        "mass/effective_tokens": mass["effective_tokens"],
    }


def of_reference(selected: Sequence[Trajectory]) -> dict[str, float]:
    """KL of the policy to the reference over response tokens, where the reference has scored them and log-probs are known."""
    if not all("ref_logprob" in t.signals for t in selected):
        return {}
    shift = np.concatenate([signal_values(t, "shift")[t.loss_mask] for t in selected])
    return {"kl/reference": mean_kl(shift)} if np.isfinite(shift).all() else {}


def of_sampler(sampled: np.ndarray, again: np.ndarray) -> dict[str, float]:
    """Distance between the sampler's and the trainer's log-probs of the sampled tokens, for the same weights."""
    d = np.asarray(sampled, np.float64) - again
    return {
        "kl/rollout": mean_kl(d),
        "ratio/rollout_mean": float(np.abs(d).mean()),
        "ratio/rollout_max": float(np.abs(d).max()),
    }


def of_critic(values: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """How well the critic predicts its targets, over response tokens."""
    spread = float(np.var(targets, dtype=np.float64))
    explained = {"critic/explained": 1 - float(np.var(targets - values, dtype=np.float64)) / spread} if spread else {}
    return {"critic/value_mean": float(values.mean()), **explained}


def mean_kl(log_ratios: np.ndarray) -> float:
    """Mean of exp(-d) - 1 + d, d = log pi(y) - log q(y), over tokens sampled from pi: KL(pi || q) (k3)."""
    d = np.asarray(log_ratios, np.float64)
    return float(np.mean(np.expm1(-d) + d))


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """The mean of every name over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}


def well_formed(trajectories: Sequence[Trajectory]) -> float:
    """Fraction of turns with the required reasoning and an answer."""
    return sum(len(t.answered) for t in trajectories) / sum(len(t.turn_records) for t in trajectories)


def legal(trajectories: Sequence[Trajectory]) -> float:
    """Fraction of turns with a well-formed answer whose actions are legal."""
    turns = [turn for t in trajectories for turn in t.turn_records]
    return sum(turn.valid for turn in turns) / len(turns)
