"""Shared prefixes in the update: computed once, with the same gradient."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from actfocus_core.policy import split_model
from actfocus_core.policy.split_model import SplitModel
from actfocus_core.train import TrainConfig
from actfocus_core.train.prefix import SharedPrefix
from tests.core.updates import CONFIG, close, gradient, training_batch


@pytest.fixture(scope="module")
def learner(tiny):
    """A copy of the embedded policy a little away from where it sampled, so that ratios are not 1."""
    model = copy.deepcopy(tiny.model).requires_grad_(True)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.02 * torch.randn(p.shape, generator=g) * p.abs().mean()
    return model


def test_a_prefix_computed_once_gives_the_gradient_of_whole_rows(learner, rollouts, monkeypatch):
    """With few micro-batches and with many, and with an entropy term; a model's own forward."""
    batch = training_batch(rollouts)
    monkeypatch.setattr(split_model, "fast_model", lambda model: None)
    for config in (CONFIG, TrainConfig(entropy_coef=0.1, micro_tokens=512, minibatch=100)):
        assert SharedPrefix.worth_it(SplitModel(learner), batch, np.arange(len(rollouts)))
        once = gradient(learner, batch, config)
        with monkeypatch.context() as patch:
            patch.setattr(SharedPrefix, "worth_it", staticmethod(lambda *a: False))
            close(once, gradient(learner, batch, config))


def test_replies_with_a_common_prefix_share_it_too(learner, rollouts, monkeypatch):
    """Two groups as they were sampled, and one whose rollouts are one and the same; a model's own forward."""
    monkeypatch.setattr(split_model, "fast_model", lambda model: None)
    same = [replace(rollouts[8], id=f"same-{k}", group="same", reward=float(k > 0)) for k in range(3)]
    trajectories = [*rollouts[:8], *same]
    batch, rows, device = training_batch(trajectories), np.arange(len(trajectories)), torch.device("cpu")
    model, first = SplitModel(learner), np.array([w[0] for w in batch.where])
    prefix = SharedPrefix(model, batch, rows, 2048, device)
    sizes = np.array([prefix.read[i] for i in rows])
    assert (sizes >= first - 1).all() and (sizes > first).sum() > 3 and (sizes[8:] == batch.where[8][-1] - 1).all()
    for i, size in enumerate(sizes):
        alike = [t.token_ids[:size].tolist() for t in trajectories if t.group == trajectories[i].group]
        assert all(ids == alike[0] for ids in alike)
    # No more than is allowed is held beyond the prompts.
    short = SharedPrefix(model, batch, rows, int(first.max()) * 3, device)
    assert max(short.read.values()) <= first.max() and short.read[8] < prefix.read[8]
    for config in (CONFIG, TrainConfig(entropy_coef=0.1, kl_coef=0.05, kl_kind="k3", micro_tokens=512, minibatch=100)):
        once = gradient(learner, batch, config)
        with monkeypatch.context() as patch:
            patch.setattr(SharedPrefix, "worth_it", staticmethod(lambda *a: False))
            close(once, gradient(learner, batch, config))


def test_a_small_model_reads_what_rollouts_have_in_common_once(learner, rollouts, monkeypatch):
    """The gradient is that of the model's own forward on every row, whatever the micro-batches."""
    batch = training_batch([*rollouts, replace(rollouts[3], id="again")])
    for config in (CONFIG, TrainConfig(entropy_coef=0.1, kl_coef=0.05, kl_kind="k3", micro_tokens=512, minibatch=100)):
        once = gradient(learner, batch, config)
        with monkeypatch.context() as patch:
            patch.setattr(split_model, "fast_model", lambda model: None)
            patch.setattr(SharedPrefix, "worth_it", staticmethod(lambda *a: False))
            close(once, gradient(learner, batch, config))
    rows = np.arange(len(batch.trajectories))
    micro = list(batch.micro_batches(rows, 512, torch.device("cpu"), shared=True))
    assert len(micro) > 1 and sorted(i for m in micro for i in m.chosen) == rows.tolist()


def test_prefixes_are_not_shared_where_a_layer_sees_a_window(policy):
    """Such a model needs other masks: every row is computed whole."""
    from transformers import MistralConfig, MistralForCausalLM

    model = MistralForCausalLM(
        MistralConfig(
            vocab_size=400,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            sliding_window=48,
        )
    )
    assert not SplitModel(model).full_attention and SplitModel(policy.model).full_attention
