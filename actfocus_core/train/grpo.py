"""GRPO with token credit (method.md section 4)."""

from __future__ import annotations

from actfocus_core.train import metrics as names
from actfocus_core.train.groups import filter_groups
from actfocus_core.train.learner import Learner, Prepared
from actfocus_core.train.session import Session
from actfocus_core.train.update import PolicyStep, policy_step
from actfocus_core.trajectory import Trajectory


def train_grpo(session: Session) -> None:
    """Train until the steps or the time budget are spent, or a stop is requested.

    A group whose returns are all equal has advantage 0. Unless the filter drops it, it stays in the batch: its tokens
    count in sum(w), so it reduces the size of the gradient without changing its direction.
    """
    learner, config = session.learner, session.config
    while session.should_continue():
        step = session.begin_step()
        # P prompts, G rollouts of each under the current policy.
        with learner.phase("rollout"):
            rollouts = session.collect(step)
        selected = filter_groups(rollouts, config.keep_fraction)
        prepared = prepare_grpo(learner, selected)
        with learner.phase("store"):
            session.store(step, rollouts)
        metrics = names.of_rollouts(rollouts, selected) | prepared.metrics
        with learner.updating():
            if config.mass_every and step % config.mass_every == 0:
                metrics |= learner.gradient_by_kind(prepared, step)
            updates = update_grpo(learner, prepared, step)
        session.end_step(step, metrics | names.mean_of(updates))


def prepare_grpo(learner: Learner, selected: list[Trajectory]) -> Prepared:
    """Advantages and token weights, both from the credit scheme; the reference scores the rollouts where it is needed."""
    return learner.prepare(selected)


def update_grpo(
    learner: Learner, prepared: Prepared, step: int, policy_step: PolicyStep = policy_step
) -> list[dict[str, float]]:
    """One clipped optimiser step per mini-batch, ``epochs`` times over the batch. Returns the metrics of each step.

    ``policy_step`` replaces ``update.policy_step``, for instance by one that records the gradients.
    """
    metrics = []
    with learner.phase("update"):
        for epoch in range(learner.config.epochs):
            for rows, normaliser in learner.minibatches(prepared, step, epoch):
                metrics.append(
                    policy_step(
                        learner.model, learner.adam, prepared.training_batch, rows, normaliser, learner.config, step
                    )
                )
    return metrics
