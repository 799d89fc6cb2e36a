"""PPO's critic: its values, its targets, and the advantages from them."""

import copy

import numpy as np
import pytest
import torch

from actfocus_core.credit import Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.policy import Policy
from actfocus_core.train.critic import Critic
from actfocus_core.train.ppo import check_weights_only, token_advantages
from actfocus_core.train.update import (
    Adam,
    critic_step,
    per_token,
)
from tests.core.updates import CONFIG, training_batch


def test_advantages_of_the_critic_against_the_definition(rollouts):
    """At gamma = lam = 1: the return minus the value, at response tokens alone."""
    trajectories = [copy.copy(t) for t in rollouts]
    rng = np.random.default_rng(0)
    for t in trajectories:
        t.signals = {
            **t.signals,
            "value": np.where(t.response_mask, rng.normal(size=len(t)), np.nan).astype(np.float32),
        }
    plain, targets = token_advantages(trajectories, whiten=False)
    expected = np.concatenate([np.where(t.response_mask, t.ret - t.signals["value"], 0) for t in trajectories])
    np.testing.assert_allclose(plain, expected, atol=1e-5)
    np.testing.assert_allclose(
        targets, np.concatenate([np.where(t.response_mask, t.ret, 0) for t in trajectories]), atol=1e-5
    )
    white, _ = token_advantages(trajectories)
    response = np.concatenate([t.response_mask for t in trajectories])
    assert abs(white[response].mean()) < 1e-5 and white[response].std() == pytest.approx(1, abs=1e-4)
    assert not white[~response].any()


def test_the_critic_begins_at_0_and_learns_the_returns(tiny, rollouts):
    trained = Policy("tiny", copy.deepcopy(tiny.model).requires_grad_(True), tiny.tokenizer)
    critic = Critic(trained)
    before = per_token(rollouts, critic.values, 2000, tiny.device)
    assert all(
        (v[t.response_mask] == 0).all() and np.isnan(v[~t.response_mask]).all() for t, v in zip(rollouts, before)
    )
    zeros = np.zeros(sum(map(len, rollouts)), np.float32)
    batch = training_batch(rollouts, values=zeros, value_targets=zeros + np.float32(0.5))
    adam, rows = Adam(critic.named_parameters(), 1e-3, 0, 1.0), np.arange(len(rollouts))
    config = CONFIG.model_copy(update={"micro_tokens": 1000})
    losses = [critic_step(critic, adam, batch, rows, config, step)["loss/value"] for step in range(1, 9)]
    assert losses[0] == pytest.approx(0.125, rel=1e-4) and losses[-1] < 0.3 * losses[0]
    assert not any(
        torch.equal(a, b)
        for a, b in [(critic.backbone.layers[0].mlp.up_proj.weight, tiny.model.model.layers[0].mlp.up_proj.weight)]
    )


def test_a_scheme_with_advantages_of_its_own_is_refused_under_ppo(rollouts):
    batch = Batch.of(rollouts)
    credit = get_scheme("actfocus").compute(batch)
    check_weights_only(batch, credit, "actfocus")
    changed = type(credit)(**{**vars(credit), "advantage": credit.advantage * 2})
    with pytest.raises(ActFocusError, match="'mine' computes its own advantages"):
        check_weights_only(batch, changed, "mine")
