"""PPO with token credit and a critic of its own, from top to bottom (method.md section 4)."""

from __future__ import annotations

import numpy as np

from actfocus_core.advantages import gae
from actfocus_core.credit import Batch, Credit
from actfocus_core.errors import ActFocusError
from actfocus_core.train import metrics as names
from actfocus_core.train.groups import keep_groups
from actfocus_core.train.learner import Learner, Prepared
from actfocus_core.train.session import Session
from actfocus_core.train.update import critic_step, per_token, policy_step
from actfocus_core.trajectory import Trajectory


def train_ppo(s: Session) -> None:
    """Train until the steps or the time are spent, or a stop is asked for.

    The scheme gives weights; advantages are those of the critic. The critic learns from every
    response token alike.
    """
    c = s.config
    while s.goes_on():
        step = s.start_step()
        # P prompts, G rollouts of each under the policy as it is.
        with s.phase("rollout"):
            rollouts = s.collect(step)
        kept = keep_groups(rollouts, c.filter_share)
        made = prepare_ppo(s, kept)
        with s.phase("store"):
            s.store(step, rollouts)
        values, targets = (
            np.concatenate(made.tokens.columns[name])[made.batch.response] for name in ("values", "value_targets")
        )
        metrics = (
            names.of_rollouts(rollouts, kept)
            | names.of_credit(made.batch, made.credit)
            | names.of_reference(kept)
            | names.of_critic(values, targets)
        )
        # Clipped updates of policy and critic, one of each a mini-batch.
        with s.updating():
            if c.mass_every and step % c.mass_every == 0:
                metrics |= s.gradient_by_kind(made, step)
            updates = update_ppo(s, made, step)
        s.end_step(step, metrics | names.mean_of(updates))


def prepare_ppo(s: Learner, kept: list[Trajectory]) -> Prepared:
    """Everything the update reads of the kept trajectories; they get the critic's ``value``."""
    c = s.config
    assert s.critic is not None  # PPO has one.
    # The critic's value before every response token, and GAE from it.
    with s.phase("values"):
        for t, values in zip(kept, per_token(kept, s.critic.values, c.micro_tokens, s.policy.device, c.precision)):
            t.signals["value"] = values
        advantages, targets = token_advantages(kept, c.gamma, c.lam, c.whiten)
    # The frozen reference's signals, where they are needed, and weights from them.
    with s.phase("score"):
        batch, credit = s.credit(kept)
        demand_weights_alone(batch, credit, c.scheme)
    with s.phase("update"):
        values = np.concatenate([t.signals["value"] for t in kept])
        return Prepared(batch, credit, s.batch(kept, batch, credit, advantages, values=values, value_targets=targets))


def update_ppo(s: Learner, made: Prepared, step: int, critic: bool = True) -> list[dict[str, float]]:
    """The optimiser steps of a training step, of policy and critic, one a mini-batch; the metrics of each.

    ``critic=False`` leaves the critic as it is: in the step it changes nothing for the policy.
    """
    assert s.critic is not None and s.critic_adam is not None  # PPO has one.
    with s.phase("update"):
        return [
            policy_step(s.model, s.adam, made.tokens, rows, z, s.config, step)
            | (critic_step(s.critic, s.critic_adam, made.tokens, rows, s.config, step) if critic else {})
            for epoch in range(s.config.epochs)
            for rows, z in s.minibatches(made.tokens, made.credit, step, epoch)
        ]


def token_advantages(
    trajectories: list[Trajectory], gamma: float = 1.0, lam: float = 1.0, whiten: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """GAE over the response tokens of each trajectory: advantages and the critic's targets, float32 [N].

    The return is paid at the last response token. ``signals["value"]`` holds the critic's values.
    N runs over all tokens, one trajectory after another; 0 where the policy sampled nothing.
    ``whiten``: to mean 0 and standard deviation 1 over all response tokens (ours; verl does so).
    """
    advantages, targets = [], []
    for t in trajectories:
        where = np.flatnonzero(t.response_mask)
        rewards = np.zeros(len(where))
        rewards[-1:] = t.ret
        a, v = np.zeros(len(t), np.float32), np.zeros(len(t), np.float32)
        a[where], v[where] = gae(rewards, t.signals["value"][where], gamma, lam)
        advantages.append(a)
        targets.append(v)
    flat, response = np.concatenate(advantages), np.concatenate([t.response_mask for t in trajectories])
    if whiten:
        own = flat[response].astype(np.float64)
        flat[response] = (own - own.mean()) / np.sqrt(own.var() + 1e-8)
    return flat, np.concatenate(targets)


def demand_weights_alone(batch: Batch, credit: Credit, scheme: str) -> None:
    """Raise ActFocusError for a scheme that makes advantages of its own: under PPO the critic does."""
    if not np.array_equal(credit.advantage, batch.grpo()):
        raise ActFocusError(
            f"scheme {scheme!r} makes advantages of its own; under PPO these are the critic's: "
            "use GRPO, or a scheme that gives weights alone"
        )
