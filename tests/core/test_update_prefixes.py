"""The update of a small model computes shared prefixes once, with the gradient of the model's own forward pass."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from actfocus_core.policy import split_model
from actfocus_core.train import TrainConfig
from tests.core.updates import CONFIG, close, gradient, training_batch

WITH_ALL_TERMS = TrainConfig(entropy_coef=0.1, kl_coef=0.05, kl_kind="k3", micro_tokens=512, minibatch=100)


@pytest.fixture(scope="module")
def learner(tiny):
    """A copy of the embedded policy a little away from where it sampled, so that ratios are not 1."""
    model = copy.deepcopy(tiny.model).requires_grad_(True)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.02 * torch.randn(p.shape, generator=g) * p.abs().mean()
    return model


@pytest.mark.parametrize("config", [CONFIG, WITH_ALL_TERMS], ids=["policy loss", "all terms"])
def test_prefixes_computed_once_give_the_gradient_of_whole_rows(learner, rollouts, monkeypatch, config):
    batch = training_batch([*rollouts, replace(rollouts[3], id="again")])
    once = gradient(learner, batch, config)
    monkeypatch.setattr(split_model, "fast_model", lambda model: None)
    close(once, gradient(learner, batch, config))


def test_micro_batches_by_prefix_hold_every_trajectory_once(rollouts):
    batch = training_batch(rollouts)
    rows = np.arange(len(batch.trajectories))
    micro = list(batch.micro_batches(rows, 512, torch.device("cpu"), by_prefix=True))
    assert len(micro) > 1 and sorted(i for m in micro for i in m.chosen) == rows.tolist()
