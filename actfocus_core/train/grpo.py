"""GRPO with token credit, from top to bottom (method.md section 4)."""

from __future__ import annotations

from actfocus_core.train import metrics as names
from actfocus_core.train.groups import keep_groups
from actfocus_core.train.learner import Learner, Prepared
from actfocus_core.train.session import Session
from actfocus_core.train.update import policy_step
from actfocus_core.trajectory import Trajectory


def train_grpo(s: Session) -> None:
    """Train until the steps or the time are spent, or a stop is asked for.

    A group whose returns are all equal has advantage 0. Unless the filter leaves it out it stays
    in the batch: its tokens count in sum(w), so it makes the step smaller and bends it nowhere.
    """
    c = s.config
    while s.goes_on():
        step = s.start_step()
        # P prompts, G rollouts of each under the policy as it is.
        with s.phase("rollout"):
            rollouts = s.collect(step)
        kept = keep_groups(rollouts, c.filter_share)
        made = prepare_grpo(s, kept)
        with s.phase("store"):
            s.store(step, rollouts)
        metrics = (
            names.of_rollouts(rollouts, kept) | names.of_credit(made.batch, made.credit) | names.of_reference(kept)
        )
        # Clipped updates, one a mini-batch.
        with s.updating():
            if c.mass_every and step % c.mass_every == 0:
                metrics |= s.gradient_by_kind(made, step)
            updates = update_grpo(s, made, step)
        s.end_step(step, metrics | names.mean_of(updates))


def prepare_grpo(s: Learner, kept: list[Trajectory]) -> Prepared:
    """Everything the update reads of the kept trajectories."""
    # The frozen reference's signals, where they are needed; advantages and weights from them.
    with s.phase("score"):
        batch, credit = s.credit(kept)
    with s.phase("update"):
        return Prepared(batch, credit, s.batch(kept, batch, credit, credit.advantage))


def update_grpo(s: Learner, made: Prepared, step: int) -> list[dict[str, float]]:
    """The optimiser steps of a training step, one a mini-batch; the metrics of each."""
    with s.phase("update"):
        return [
            policy_step(s.model, s.adam, made.tokens, rows, z, s.config, step)
            for epoch in range(s.config.epochs)
            for rows, z in s.minibatches(made.tokens, made.credit, step, epoch)
        ]
