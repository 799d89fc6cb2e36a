"""GRPO with token credit, from top to bottom (method.md section 4)."""

from __future__ import annotations

from actfocus_core.train import metrics as names
from actfocus_core.train.groups import keep_groups
from actfocus_core.train.session import Session, kl_to_reference
from actfocus_core.train.update import gradient_by_kind, policy_step


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
        # The frozen reference's signals, where they are needed; advantages and weights from them.
        with s.phase("score"):
            batch, credit = s.credit(kept)
        with s.phase("store"):
            s.store(step, rollouts)
        metrics = names.of_rollouts(rollouts, kept) | names.of_credit(batch, credit) | kl_to_reference(kept)
        # Clipped updates, one a mini-batch.
        with s.updating():
            with s.phase("update"):
                tokens = s.batch(kept, batch, credit, credit.advantage)
            if c.mass_every and step % c.mass_every == 0:
                with s.phase("measure"):
                    rows, z = s.minibatches(tokens, credit, step, epoch=0)[0]
                    metrics |= gradient_by_kind(s.model, s.adam, tokens, rows, z, c)
            with s.phase("update"):
                updates = [policy_step(s.model, s.adam, tokens, rows, z, c, step) for epoch in range(c.epochs)
                           for rows, z in s.minibatches(tokens, credit, step, epoch)]
        s.end_step(step, metrics | names.mean_of(updates))
