"""The gradient of an update against the textbook, and what it must not depend on (method.md section 4)."""

import copy

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from actfocus_core.credit import Batch
from actfocus_core.errors import ActFocusError
from actfocus_core.losses import normalisers
from actfocus_core.policy.split_model import SplitModel
from actfocus_core.train.learner import recompute_activations
from actfocus_core.train.update import (
    Adam,
    forward,
    gradient_by_kind,
    per_token,
    policy_gradient,
    policy_step,
)
from actfocus_core.trajectory import Trajectory
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


def test_uniform_is_the_textbook_grpo_step(learner, rollouts):
    """The same loss written out on the model's own padded logits, nothing shared with the update."""
    longest = max(map(len, rollouts))
    ids, old, mask = (np.zeros((len(rollouts), longest), kind) for kind in (np.int64, np.float32, bool))
    attention = np.zeros((len(rollouts), longest), np.int64)
    for i, t in enumerate(rollouts):
        ids[i, : len(t)], old[i, : len(t)], attention[i, : len(t)] = t.token_ids, np.nan_to_num(t.logprobs), 1
        mask[i, : len(t)] = t.kinds >= 3
    returns = np.array([t.ret for t in rollouts]).reshape(6, 4)
    std = returns.std(1, keepdims=True)
    advantages = np.where(std > 0, (returns - returns.mean(1, keepdims=True)) / (std + 1e-6), 0).reshape(-1, 1)
    learner.zero_grad()
    logits = learner(input_ids=torch.tensor(ids), attention_mask=torch.tensor(attention)).logits[:, :-1]
    logprobs = logits.log_softmax(-1).gather(2, torch.tensor(ids)[:, 1:, None])[..., 0]
    ratio, a = (logprobs - torch.tensor(old)[:, 1:]).exp(), torch.tensor(advantages, dtype=torch.float32)
    surrogate = torch.minimum(ratio * a, ratio.clamp(0.8, 1.28) * a)
    kept = torch.tensor(mask)[:, 1:]
    (-(surrogate * kept).sum() / kept.sum()).backward()
    textbook = torch.cat([p.grad.flatten() for p in learner.parameters()])
    assert textbook.norm() > 1e-3
    close(gradient(learner, training_batch(rollouts, "uniform")), textbook)


@pytest.mark.parametrize("scope", ["minibatch", "trajectory", "batch"])
@pytest.mark.parametrize("changes", [{}, {"entropy_coef": 0.01, "kl_coef": 0.1, "kl_kind": "k3"}])
def test_any_split_and_any_order_gives_the_same_gradient(learner, rollouts, changes, scope):
    rollouts = rollouts[:12]
    config = CONFIG.model_copy(update=changes)
    whole = gradient(learner, training_batch(rollouts), config, scope)
    for tokens in (64, 700):
        close(
            gradient(learner, training_batch(rollouts), config.model_copy(update={"micro_tokens": tokens}), scope),
            whole,
        )
    order = np.random.default_rng(1).permutation(len(rollouts))
    close(gradient(learner, training_batch([rollouts[i] for i in order]), config, scope), whole)
    close(gradient(learner, training_batch(rollouts), config, scope, rows=order), whole)


def test_a_turn_as_the_unit_of_the_ratio_survives_splitting(learner, rollouts):
    batch = Batch.of(rollouts)
    columns = {"units": batch.index * 1000 + batch.turns}
    whole = gradient(learner, training_batch(rollouts, **columns))
    close(
        gradient(learner, training_batch(rollouts, **columns), CONFIG.model_copy(update={"micro_tokens": 300})), whole
    )
    assert (whole - gradient(learner, training_batch(rollouts))).norm() > 1e-3 * whole.norm()


def test_trajectories_without_advantage_are_counted_and_not_computed(learner, rollouts):
    batch = training_batch(rollouts)
    still = batch.without_gradient()
    assert 0 < still.sum() < len(rollouts)
    z = normalisers(batch.total("weights"), [np.arange(len(rollouts))], "minibatch")
    learner.zero_grad()
    policy_gradient(SplitModel(learner), batch, np.flatnonzero(~still), z, CONFIG)
    alone = torch.cat([p.grad.flatten() for p in learner.parameters()])
    close(gradient(learner, batch), alone)
    # An entropy term gives them a gradient, so then they are computed.
    with_entropy = CONFIG.model_copy(update={"entropy_coef": 0.01})
    assert policy_gradient(SplitModel(learner), batch, np.flatnonzero(still), z, CONFIG) is None
    assert policy_gradient(SplitModel(learner), batch, np.flatnonzero(still), z, with_entropy)["loss/entropy"] < 0


def test_the_gradient_is_the_numerical_one_on_a_two_token_model():
    """The derivative along a random direction, by central differences of the textbook loss."""
    torch.manual_seed(0)
    model = (
        LlamaForCausalLM(
            LlamaConfig(
                vocab_size=2,
                hidden_size=8,
                intermediate_size=8,
                num_hidden_layers=1,
                num_attention_heads=1,
                initializer_range=0.5,
            )
        )
        .double()
        .eval()
    )
    rng = np.random.default_rng(0)
    trajectories = [
        Trajectory(
            str(i),
            rng.integers(0, 2, 6),
            [0, 3, 3, 4, 5, 5],
            [0] * 6,
            np.full(6, -0.7),
            [""] * 6,
            group="g",
            reward=float(i % 2),
            signals={"ref_energy": rng.normal(size=6), "ref_entropy": np.zeros(6), "ref_logprob": np.full(6, -0.6)},
        )
        for i in range(4)
    ]
    batch = training_batch(trajectories)
    analytic = gradient(model, batch)
    direction = torch.tensor(rng.normal(size=analytic.shape))
    # Partly along the gradient, so that the derivative stands out of the model's float32 norms.
    direction = analytic / analytic.norm() + direction / direction.norm()
    weights, advantages = (np.stack(batch.columns[name])[:, 1:] for name in ("weights", "advantages"))
    ids = torch.tensor(np.stack([t.token_ids for t in trajectories]).astype(np.int64))

    def loss(shift: float) -> float:
        moved, start = copy.deepcopy(model), 0
        with torch.no_grad():
            for p in moved.parameters():
                p += shift * direction[start : start + p.numel()].view_as(p)
                start += p.numel()
            logp = moved(input_ids=ids).logits.log_softmax(-1)[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
        ratio = (logp + 0.7).exp().numpy()
        terms = weights * np.minimum(ratio * advantages, ratio.clip(0.8, 1.28) * advantages)
        return -terms.sum() / weights.sum()

    numerical = (loss(3e-3) - loss(-3e-3)) / 6e-3
    assert numerical == pytest.approx(float(analytic @ direction), rel=2e-3) and abs(numerical) > 1e-3


def test_the_gradients_of_the_kinds_add_up_to_the_whole(learner, rollouts):
    batch = training_batch(rollouts)
    whole = gradient(learner, batch)
    rows = np.arange(len(rollouts))
    adam = Adam(learner.named_parameters(), 1e-3, 0, 1.0)
    m = gradient_by_kind(
        SplitModel(learner),
        adam,
        batch,
        rows,
        normalisers(batch.total("weights"), [rows], "minibatch"),
        CONFIG.model_copy(update={"micro_tokens": 800}),
    )
    kinds = ("reasoning", "action", "format")
    length = {k: m[f"mass/gradient_{k}"] for k in kinds}
    square = sum(n * n for n in length.values()) + 2 * sum(
        m[f"mass/cosine_{a}_{b}"] * length[a] * length[b]
        for a, b in (("reasoning", "action"), ("format", "action"), ("reasoning", "format"))
    )
    assert square == pytest.approx(float(whole.norm()) ** 2, rel=1e-3)


def test_log_probs_of_the_update_are_those_of_the_rollout(tiny, rollouts):
    made = per_token(rollouts, lambda micro: forward(SplitModel(tiny.model), micro)[0], 1000, tiny.device)
    for t, again in zip(rollouts, made):
        np.testing.assert_allclose(again, t.logprobs, atol=2e-5)


def test_many_logits_are_made_again_with_the_same_gradient(learner, rollouts, monkeypatch):
    whole = gradient(learner, training_batch(rollouts))
    monkeypatch.setattr("actfocus_core.train.update.HELD_LOGITS", 1000)
    monkeypatch.setattr("actfocus_core.train.update.chunk_rows", lambda *_: 50)
    close(gradient(learner, training_batch(rollouts)), whole)


def test_gradient_checkpointing_changes_no_gradient(learner, rollouts):
    whole = gradient(learner, training_batch(rollouts))
    again = copy.deepcopy(learner)
    recompute_activations(again)
    again.train()
    passes = []
    again.model.layers[0].self_attn.register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    close(gradient(again, training_batch(rollouts)), whole)
    batch = training_batch(rollouts)
    parts = batch.micro_batches(np.flatnonzero(~batch.without_gradient()), CONFIG.micro_tokens, torch.device("cpu"))
    assert passes.count(True) == 2 * len(list(parts)), "each layer is to run twice"


def test_a_gradient_that_is_not_a_number_moves_nothing(learner, rollouts):
    model = copy.deepcopy(learner)
    before = [p.clone() for p in model.parameters()]
    batch = training_batch(rollouts)
    batch.columns["advantages"] = [a * np.float32(np.nan) for a in batch.columns["advantages"]]
    rows = np.arange(len(rollouts))
    with pytest.raises(ActFocusError, match="step 4: the gradient of the policy is not a finite number"):
        policy_step(
            SplitModel(model), Adam(model.named_parameters(), 1e-3, 0, 1.0), batch, rows, np.ones(len(rows)), CONFIG, 4
        )
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))


def test_adam_from_its_state_dict_continues_as_it_would_have(learner):
    def walk(model, adam, steps):
        for step in steps:
            for i, p in enumerate(adam.parameters.values()):
                p.grad = torch.full_like(p, 0.01 * (i + 1) * (-1) ** step)
            adam.step(step, "policy")

    one, two = copy.deepcopy(learner), copy.deepcopy(learner)
    first = Adam(one.named_parameters(), 1e-3, 2, 1.0)
    walk(one, first, (1, 2))
    second = Adam(two.named_parameters(), 1e-3, 2, 1.0)
    second.load_parameters({name: p.detach().clone() for name, p in first.parameters.items()})
    second.load_state_dict({name: t.clone() for name, t in first.state_dict().items()})
    walk(one, first, (3, 4))
    walk(two, second, (3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters()))
    assert [first.rate(step) for step in (1, 2, 3, 9)] == pytest.approx([1e-3 / 3, 2e-3 / 3, 1e-3, 1e-3])
