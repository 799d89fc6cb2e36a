"""PPO with token credit and a separate critic (method.md section 4)."""

from __future__ import annotations

import numpy as np

from actfocus_core.advantages import gae
from actfocus_core.credit import Batch, Credit
from actfocus_core.errors import ActFocusError
from actfocus_core.train import metrics as names
from actfocus_core.train.groups import filter_groups
from actfocus_core.train.learner import Learner, Prepared
from actfocus_core.train.session import Session
from actfocus_core.train.update import PolicyStep, critic_step, per_token, policy_step
from actfocus_core.trajectory import Trajectory


def train_ppo(session: Session) -> None:
    """Train until the steps or the time budget are spent, or a stop is requested.

    Advantages come from the critic; the scheme only weights the tokens. The critic weights all response tokens equally.
    """
    learner, config = session.learner, session.config
    while session.should_continue():
        step = session.begin_step()
        # P prompts, G rollouts of each under the current policy.
        with learner.phase("rollout"):
            rollouts = session.collect(step)
        selected = filter_groups(rollouts, config.keep_fraction)
        prepared = prepare_ppo(learner, selected)
        with learner.phase("store"):
            session.store(step, rollouts)
        metrics = names.of_rollouts(rollouts, selected) | prepared.metrics
        with learner.updating():
            if config.mass_every and step % config.mass_every == 0:
                metrics |= learner.gradient_by_kind(prepared, step)
            updates = update_ppo(learner, prepared, step)
        session.end_step(step, metrics | names.mean_of(updates))


def prepare_ppo(learner: Learner, selected: list[Trajectory]) -> Prepared:
    """The critic's values (stored as the signal ``value``), GAE from them, and the scheme's token weights.

    Raises ActFocusError for a scheme that computes advantages.
    """
    config, critic = learner.config, learner.critic
    assert critic is not None  # always created for PPO
    with learner.phase("values"):
        values = per_token(selected, critic.values, config.micro_tokens, learner.policy.device, config.precision)
        for trajectory, value in zip(selected, values):
            trajectory.signals["value"] = value
        advantages, targets = token_advantages(selected, config.gamma, config.lam, config.whiten)
    prepared = learner.prepare(selected, advantages, values=np.concatenate(values), value_targets=targets)
    check_weights_only(prepared.batch, prepared.credit, config.scheme)
    response = prepared.batch.response
    prepared.metrics.update(names.of_critic(np.concatenate(values)[response], targets[response]))
    return prepared


def update_ppo(
    learner: Learner,
    prepared: Prepared,
    step: int,
    policy_step: PolicyStep = policy_step,
    train_critic: bool = True,
) -> list[dict[str, float]]:
    """One clipped optimiser step of policy and critic per mini-batch, ``epochs`` times over the batch.

    Returns the metrics of each step. ``policy_step`` replaces ``update.policy_step``. ``train_critic=False`` leaves the
    critic unchanged; within a step this does not affect the policy.
    """
    critic, critic_adam, batch = learner.critic, learner.critic_adam, prepared.training_batch
    assert critic is not None and critic_adam is not None  # always created for PPO
    metrics = []
    with learner.phase("update"):
        for epoch in range(learner.config.epochs):
            for rows, normaliser in learner.minibatches(prepared, step, epoch):
                taken = policy_step(learner.model, learner.adam, batch, rows, normaliser, learner.config, step)
                if train_critic:
                    taken |= critic_step(critic, critic_adam, batch, rows, learner.config, step)
                metrics.append(taken)
    return metrics


def token_advantages(
    trajectories: list[Trajectory], gamma: float = 1.0, lam: float = 1.0, whiten: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """GAE over the response tokens of each trajectory: advantages and the critic's targets, float32 [N].

    N counts all tokens, one trajectory after another; both are 0 outside the responses. The return is paid at the last
    response token, and ``signals["value"]`` holds the critic's values. ``whiten``: standardise the advantages to mean 0
    and standard deviation 1 over all response tokens (ours; verl does so).
    """
    response = np.concatenate([t.loss_mask for t in trajectories])
    values = np.concatenate([t.signals["value"] for t in trajectories])[response]
    sizes = [int(t.loss_mask.sum()) for t in trajectories]
    sequence = np.repeat(np.arange(len(trajectories)), sizes)
    last = np.append(sequence[1:] != sequence[:-1], True)[: len(sequence)]
    rewards = np.where(last, np.array([t.ret for t in trajectories])[sequence], 0.0)
    advantages, targets = np.zeros(len(response), np.float32), np.zeros(len(response), np.float32)
    advantages[response], targets[response] = gae(rewards, values, gamma, lam, sequence)
    if whiten:
        a = advantages[response].astype(np.float64)
        advantages[response] = (a - a.mean()) / np.sqrt(a.var() + 1e-8)
    return advantages, targets


def check_weights_only(batch: Batch, credit: Credit, scheme: str) -> None:
    """Raise ActFocusError for a scheme that computes advantages, which under PPO come from the critic."""
    if not np.array_equal(credit.advantage, batch.grpo()):
        raise ActFocusError(
            f"scheme {scheme!r} computes its own advantages, which under PPO come from the critic: "
            "use GRPO, or a scheme that only weights tokens"
        )
