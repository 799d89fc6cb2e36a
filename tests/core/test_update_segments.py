"""A trainer's loss mask and the segments of a rollout in the update: which tokens have a gradient."""

from dataclasses import replace

import numpy as np
import torch

from actfocus_core.train.ppo import token_advantages
from actfocus_core.trajectory import TokenKind
from tests.core.test_update import close, gradient, learner, training_batch  # noqa: F401 - a fixture


def test_a_token_out_of_the_loss_has_no_gradient(learner, rollouts):  # noqa: F811
    """The update of a batch with a mask is that of one in which the tokens out of it were never sampled."""
    masked = [replace(t, in_loss=np.arange(len(t)) % 3 > 0) for t in rollouts]
    kinds = [np.where(t.response_mask & ~t.loss_mask, TokenKind.TEMPLATE, t.kinds) for t in masked]
    without = [replace(t, kinds=k) for t, k in zip(rollouts, kinds)]
    assert sum(int(t.response_mask.sum()) for t in without) < sum(int(t.response_mask.sum()) for t in rollouts)
    a, b = (gradient(learner, training_batch(ts, "uniform")) for ts in (masked, without))
    close(a, b)
    whole = gradient(learner, training_batch(rollouts, "uniform"))
    assert (a - whole).norm() > 1e-3 * whole.norm()


def test_a_shared_token_has_its_gradient_once(learner, rollouts):  # noqa: F811
    """A rollout and a segment that repeats all of it, with no token of its own: the update is that of the rollout."""
    again = [replace(t, id=f"{t.id}.1", rollout_id=t.id, segment=1, parent=(0, len(t))) for t in rollouts]
    assert not any(t.loss_mask.any() for t in again)
    judge = replace(rollouts[0], id="judge", agent="judge", trainable=False, reward=9.0)
    a = gradient(learner, training_batch([*rollouts, *again, judge], "uniform"))
    b = gradient(learner, training_batch(rollouts, "uniform"))
    close(a, b)


def test_gae_runs_over_the_tokens_in_the_loss(rollouts):
    ts = [replace(t, in_loss=np.arange(len(t)) % 2 == 0) for t in rollouts]
    for t in ts:
        t.signals["value"] = np.where(t.loss_mask, 0.5, np.nan).astype(np.float32)
    advantages, targets = token_advantages(ts, whiten=False)
    in_loss = np.concatenate([t.loss_mask for t in ts])
    assert (
        torch.from_numpy(advantages).isfinite().all() and not advantages[~in_loss].any() and not targets[~in_loss].any()
    )
