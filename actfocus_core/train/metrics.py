"""The metrics of metrics.jsonl, one row per training step; row 0 is the evaluation before training.

Metrics that were not measured in a step are missing from its row. ``explain`` returns the meaning of a name.
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
    "reward/reward": "mean reward of the environment, without penalties",
    "reward/penalty": "mean format penalty",
    "reward/unknown": "number of rollouts with unknown return, which the means exclude",
    "success/rate": "fraction of rollouts that reached the goal, at the training temperature",
    "success/unknown": "number of rollouts with unknown success, which the rate excludes",
    "format/well_formed": "fraction of turns with a well-formed reply: the required reasoning and an answer",
    "format/legal": "fraction of turns with a well-formed reply whose actions are all legal",
    "format/collapsed": "1 if format/well_formed is below format_floor, else 0",
    "groups/total": "number of groups rolled out",
    "groups/kept": "number of groups selected by the filter",
    "groups/zero_spread": "fraction of the selected groups whose returns are all equal, so their GRPO advantages are 0",
    "groups/return_std": "standard deviation of the returns of a group, mean over all groups",
    "tokens/sampled": "number of response tokens of all rollouts",
    "tokens/trained": "number of response tokens of the selected trajectories that are in the loss",
    "tokens/response_mean": "mean number of response tokens per trajectory",
    "tokens/per_second": "sampled tokens per second of the step, evaluation excluded",
    "loss/policy": "weighted clipped surrogate, mean over the optimiser steps",
    "loss/entropy": "minus the entropy coefficient times the mean entropy",
    "loss/kl": "KL coefficient times the mean KL to the reference",
    "loss/value": "half the squared error of the critic",
    "loss/skipped": "fraction of optimiser steps skipped because their gradient is 0",
    "kl/update": "mean KL(old || new) over the updated tokens during the update (k3)",
    "kl/reference": "mean KL(policy || reference) over the selected response tokens before the update (k3)",
    "kl/rollout": "mean KL between sampler and trainer with the same weights (k3), due to rounding",
    "ratio/rollout_mean": "mean |log ratio| of the probabilities of sampled tokens under trainer and sampler, same weights",
    "ratio/rollout_max": "maximum of the same",
    "entropy/mean": "mean entropy of the policy at response tokens, nats, temperature 1 (vLLM: selected trajectories only)",
    "entropy/reasoning": "the same at reasoning tokens",
    "entropy/action": "the same at action tokens",
    "clip/low": "fraction of response tokens with A < 0 whose ratio was clipped from below",
    "clip/high": "fraction of response tokens with A > 0 whose ratio was clipped from above",
    "grad/norm": "norm of the policy gradient before clipping, mean over the optimiser steps",
    "grad/critic_norm": "norm of the critic's gradient before clipping, mean over the optimiser steps",
    "grad/lr": "learning rate of the policy",
    "critic/value_mean": "mean value of the critic at response tokens before the update",
    "critic/explained": "explained variance: 1 - var(target - value) / var(target), before the update",
    "mass/reasoning": "fraction of the token weight on reasoning tokens (nominal)",
    "mass/action": "fraction of the token weight on action tokens (nominal)",
    "mass/format": "fraction of the token weight on format tokens (nominal)",
    "mass/action_tokens": "fraction of action tokens among the response tokens",
    "mass/effective_tokens": "effective number of tokens: (sum of weights)^2 / sum of squared weights",
    "mass/gradient_reasoning": "norm of the policy gradient of reasoning tokens alone (measured)",
    "mass/gradient_action": "norm of the policy gradient of action tokens alone (measured)",
    "mass/gradient_format": "norm of the policy gradient of format tokens alone (measured)",
    "mass/cosine_reasoning_action": "cosine between the gradients of reasoning and action tokens",
    "mass/cosine_format_action": "cosine between the gradients of format and action tokens",
    "mass/cosine_reasoning_format": "cosine between the gradients of reasoning and format tokens",
    "seconds/rollout": "sampling of the rollouts",
    "seconds/score": "forward pass of the frozen reference over the selected trajectories, and token weights",
    "seconds/values": "forward pass of the critic before the update",
    "seconds/update": "gradients and optimiser steps",
    "seconds/measure": "gradient of each kind of token alone",
    "seconds/evaluate": "evaluation",
    "seconds/store": "writing of the rollouts",
    "seconds/elapsed": "total training time, pauses excluded",
}
EVALUATION = {
    "success": "success rate on the evaluation set at this temperature",
    "success_low": "lower bound of its 95 % interval over prompts",
    "success_high": "upper bound of its 95 % interval over prompts",
    "return": "mean return on the evaluation set",
    "well_formed": "fraction of well-formed turns on the evaluation set",
    "legal": "fraction of turns with legal actions on the evaluation set",
    "trajectories": "number of trajectories evaluated",
    "purchase": "fraction of WebShop episodes with a purchase",
    "strict_success": "fraction of WebShop episodes whose purchase met all requirements",
}
"""Metrics of an evaluation, under ``eval/tT/`` with T the temperature."""


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
    deviations = {group: _std(r) for group, r in returns.items()}
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
        **{name: mean.mean for name, mean in means.items() if mean.known},
        **{name: count for name, count in unknown.items() if count},
        "format/well_formed": well_formed(trajectories),
        "format/legal": legal(trajectories),
        "groups/total": len(returns),
        "groups/kept": len(groups),
        "groups/zero_spread": np.mean([deviations[g] == 0 for g in groups]),
        "groups/return_std": np.mean([*deviations.values()]),
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
    """The standard deviation of the known returns; exactly 0 if they are equal, without rounding errors."""
    known = np.array(returns)[np.isfinite(returns)]
    return float(np.std(known)) if len(known) and np.ptp(known) else 0.0


def of_credit(batch: Batch, credit: Credit) -> dict[str, float]:
    """The distribution of the weights over the token kinds, before multiplication by advantages."""
    mass = gradient_mass(batch.kinds, credit.weight * credit.keep)
    shares = {f"mass/{kind}": row["mass_share"] for kind, row in mass["kinds"].items() if mass["mass"]}
    return {
        **shares,
        "mass/action_tokens": mass["kinds"]["action"]["token_share"],
        "mass/effective_tokens": mass["effective_tokens"],
    }


def of_reference(selected: Sequence[Trajectory]) -> dict[str, float]:
    """KL of the policy to the reference over response tokens, if reference and policy log-probs are known."""
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
    """Mean and explained variance of the critic's values over response tokens."""
    variance = float(np.var(targets, dtype=np.float64))
    residual = float(np.var(targets - values, dtype=np.float64))
    explained = {"critic/explained": 1 - residual / variance} if variance else {}
    return {"critic/value_mean": float(values.mean()), **explained}


def mean_kl(log_ratios: np.ndarray) -> float:
    """The k3 estimate of KL(pi || q): mean of exp(-d) - 1 + d with d = log pi(y) - log q(y), over tokens sampled from pi."""
    d = np.asarray(log_ratios, np.float64)
    return float(np.mean(np.expm1(-d) + d))


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """The mean of every metric over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}


def well_formed(trajectories: Sequence[Trajectory]) -> float:
    """Fraction of turns with the required reasoning and an answer."""
    return sum(len(t.answered) for t in trajectories) / sum(len(t.turn_records) for t in trajectories)


def legal(trajectories: Sequence[Trajectory]) -> float:
    """Fraction of turns with a well-formed answer whose actions are legal."""
    turns = [turn for t in trajectories for turn in t.turn_records]
    return sum(turn.valid for turn in turns) / len(turns)
