"""The update against the textbook, and what it must not depend on (method.md section 4)."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from actfocus_core.credit import SCHEMES, Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.losses import normalisers
from actfocus_core.policy import Policy, split_model
from actfocus_core.policy.split_model import SplitModel
from actfocus_core.signals import score
from actfocus_core.train import TrainConfig
from actfocus_core.train.batch import PADDING, TrainingBatch, minibatches
from actfocus_core.train.critic import Critic
from actfocus_core.train.groups import keep_groups
from actfocus_core.train.openings import SharedOpenings
from actfocus_core.train.ppo import demand_weights_alone, token_advantages
from actfocus_core.train.update import (
    Adam,
    critic_step,
    forward,
    gradient_by_kind,
    per_token,
    policy_gradient,
    policy_step,
)
from actfocus_core.trajectory import Trajectory, Turn

CONFIG = TrainConfig(entropy_coef=0.0, micro_tokens=100_000, minibatch=100)


@pytest.fixture(scope="module")
def learner(tiny):
    """A copy of the embedded policy a little away from where it sampled, so that ratios are not 1."""
    model = copy.deepcopy(tiny.model).requires_grad_(True)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.02 * torch.randn(p.shape, generator=g) * p.abs().mean()
    return model


def training_batch(trajectories, scheme="actfocus", params=None, **columns) -> TrainingBatch:
    batch = Batch.of(trajectories)
    credit = get_scheme(scheme).compute(batch, **params or {})
    assert not credit.missing
    return TrainingBatch(
        trajectories,
        {
            "old_logprobs": np.concatenate([t.logprobs for t in trajectories]),
            "advantages": credit.advantage,
            "weights": credit.weight * credit.keep,
            "keep": credit.keep,
            "clip_scale": credit.clip_scale,
            "kinds": batch.kinds,
            "ref_logprobs": np.concatenate([t.signals["ref_logprob"] for t in trajectories]),
            **columns,
        },
    )


def gradient(model, batch, config=CONFIG, scope="minibatch", rows=None) -> torch.Tensor:
    rows = np.arange(len(batch.trajectories)) if rows is None else rows
    model.zero_grad()
    policy_gradient(SplitModel(model), batch, rows, normalisers(batch.total("weights"), [rows], scope), config)
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def close(a, b, relative=1e-5):
    assert (a - b).norm() <= relative * b.norm()


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
    again.activation_checkpointing_enable({"use_reentrant": False})
    again.train()
    passes = []
    again.model.layers[0].self_attn.register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    close(gradient(again, training_batch(rollouts)), whole)
    batch = training_batch(rollouts)
    parts = batch.micro_batches(np.flatnonzero(~batch.without_gradient()), CONFIG.micro_tokens, torch.device("cpu"))
    assert passes.count(True) == 2 * len(list(parts)), "each layer is to run twice"


def test_a_micro_batch_holds_rows_of_like_length_on_a_cpu_and_all_that_fit_elsewhere(rollouts):
    batch, everyone = training_batch(rollouts), np.arange(len(rollouts))
    size = np.array([w[-1] + 1 for w in batch.where])
    near, far = (
        [micro.chosen for micro in batch.micro_batches(everyone, 2048, torch.device(name))] for name in ("cpu", "meta")
    )
    assert sorted(np.concatenate(near)) == sorted(np.concatenate(far)) == everyone.tolist()
    for chosen in near:
        assert all((size[b] - size[a]) * (i + 1) <= PADDING for i, (a, b) in enumerate(zip(chosen, chosen[1:])))
    assert len(near) > len(far)
    for chosen, following in zip(far, far[1:]):
        assert size[chosen[-1]] * len(chosen) <= 2048 < size[following[0]] * (len(chosen) + 1)


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


def test_adam_taken_up_goes_on_as_it_would_have(learner):
    def walk(model, adam, steps):
        for step in steps:
            for i, p in enumerate(adam.named.values()):
                p.grad = torch.full_like(p, 0.01 * (i + 1) * (-1) ** step)
            adam.step(step, "policy")

    one, two = copy.deepcopy(learner), copy.deepcopy(learner)
    first = Adam(one.named_parameters(), 1e-3, 2, 1.0)
    walk(one, first, (1, 2))
    second = Adam(two.named_parameters(), 1e-3, 2, 1.0)
    second.restore({name: p.detach().clone() for name, p in first.named.items()})
    second.load({name: t.clone() for name, t in first.tensors().items()})
    walk(one, first, (3, 4))
    walk(two, second, (3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters()))
    assert [first.rate(step) for step in (1, 2, 3, 9)] == pytest.approx([1e-3 / 3, 2e-3 / 3, 1e-3, 1e-3])


# --- the critic ------------------------------------------------------------------------------


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
    demand_weights_alone(batch, credit, "actfocus")
    changed = type(credit)(**{**vars(credit), "advantage": credit.advantage * 2})
    with pytest.raises(ActFocusError, match="'mine' makes advantages of its own"):
        demand_weights_alone(batch, changed, "mine")


# --- groups and mini-batches -----------------------------------------------------------------


def test_the_groups_with_the_widest_returns_are_kept():
    def group(name, *returns):
        return [
            Trajectory(f"{name}{i}", [1], [3], [0], [0.0], [""], group=name, reward=r) for i, r in enumerate(returns)
        ]

    trajectories = group("a", 1, 1) + group("b", 0, 1) + group("c", 0, 0.5) + group("d", 0, 0)
    for share, kept in ((1.0, "abcd"), (0.5, "bc"), (0.25, "b"), (0.01, "b"), (0.75, "abc")):
        assert "".join(dict.fromkeys(t.group for t in keep_groups(trajectories, share))) == kept


def test_mini_batches_divide_the_trajectories_and_depend_on_seed_step_and_epoch_alone():
    parts = minibatches(70, 32, 1, 2, 0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(70)) and max(map(len, parts)) <= 32
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all(np.array_equal(a, b) for a, b in zip(parts, minibatches(70, 32, 1, 2, 0)))
    assert not np.array_equal(parts[0], minibatches(70, 32, 1, 3, 0)[0])


# --- learning --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "params"), [(name, {"scope": "together"} if name == "gtpo" else {}) for name in SCHEMES]
)
def test_a_bandit_whose_best_arm_is_known_is_learned(scheme, params):
    """One thought, one action out of 6; one pays. Every scheme must come to it.

    But for GTPO as published: standardised apart, its credit does not know the outcome.
    """
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=6,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            initializer_range=0.3,
        )
    ).eval()
    reference = Policy("bandit", copy.deepcopy(model).requires_grad_(False), None)
    split, adam = SplitModel(model), Adam(model.named_parameters(), 1e-2, 0, 1.0)
    g = torch.Generator().manual_seed(0)

    def play(step: int) -> list[Trajectory]:
        ids, logprobs, entropy = torch.zeros(16, 1, dtype=torch.long), [torch.zeros(16)], [torch.zeros(16)]
        for _ in range(2):
            with torch.no_grad():
                logp = model(input_ids=ids).logits[:, -1].log_softmax(-1)
            chosen = torch.multinomial(logp.exp(), 1, generator=g)
            ids, logprobs = torch.cat([ids, chosen], 1), [*logprobs, logp.gather(1, chosen)[:, 0]]
            entropy.append(-(logp.exp() * logp).sum(-1))
        rows = zip(ids.tolist(), torch.stack(logprobs, 1).numpy(), torch.stack(entropy, 1).numpy(), strict=True)
        return [pull(f"{step}-{i}", *row) for i, row in enumerate(rows)]

    def pull(name: str, ids: list[int], logprobs: np.ndarray, entropy: np.ndarray) -> Trajectory:
        pays = ids[2] == 2
        known = {
            "value": 0.2,
            "policy_v": 0.2,
            "policy_q": pays,
            "oracle_v": 1.0,
            "oracle_q": pays,
            "answer_logprob_before": -2.0,
            "answer_logprob_after": -0.1 if pays else -3.0,
        }
        return Trajectory(
            name,
            ids,
            [0, 3, 4],
            [-1, 0, 0],
            logprobs,
            [""] * 3,
            [Turn("", "", [], True, float(pays), 0.0, "start", {})],
            {"entropy": entropy, **{k: np.full(3, v) for k, v in known.items()}},
            group=name.split("-")[0],
            reward=float(pays),
            success=pays,
        )

    for step in range(1, 61):
        trajectories = score(play(step), reference)
        batch, rows = training_batch(trajectories, scheme, params), np.arange(16)
        policy_step(split, adam, batch, rows, normalisers(batch.total("weights"), [rows], "minibatch"), CONFIG, step)
    assert np.mean([t.ret for i in range(4) for t in play(100 + i)]) > 0.9


def test_an_opening_read_once_gives_the_gradient_of_every_row_read_whole(learner, rollouts, monkeypatch):
    """With few micro-batches and with many, and with an entropy term; a model's own forward."""
    batch = training_batch(rollouts)
    monkeypatch.setattr(split_model, "fast_model", lambda model: None)
    for config in (CONFIG, TrainConfig(entropy_coef=0.1, micro_tokens=512, minibatch=100)):
        assert SharedOpenings.worth_it(SplitModel(learner), batch, np.arange(len(rollouts)))
        once = gradient(learner, batch, config)
        with monkeypatch.context() as patch:
            patch.setattr(SharedOpenings, "worth_it", staticmethod(lambda *a: False))
            close(once, gradient(learner, batch, config))


def test_replies_that_begin_alike_are_read_once_too(learner, rollouts, monkeypatch):
    """Two groups as they were sampled, and one whose rollouts are one and the same; a model's own forward."""
    monkeypatch.setattr(split_model, "fast_model", lambda model: None)
    same = [replace(rollouts[8], id=f"same-{k}", group="same", reward=float(k > 0)) for k in range(3)]
    trajectories = [*rollouts[:8], *same]
    batch, rows, device = training_batch(trajectories), np.arange(len(trajectories)), torch.device("cpu")
    model, first = SplitModel(learner), np.array([w[0] for w in batch.where])
    openings = SharedOpenings(model, batch, rows, 2048, device)
    sizes = np.array([openings.read[i] for i in rows])
    assert (sizes >= first - 1).all() and (sizes > first).sum() > 3 and (sizes[8:] == batch.where[8][-1] - 1).all()
    for i, size in enumerate(sizes):
        alike = [t.token_ids[:size].tolist() for t in trajectories if t.group == trajectories[i].group]
        assert all(ids == alike[0] for ids in alike)
    # No more than is allowed is held beyond the prompts.
    short = SharedOpenings(model, batch, rows, int(first.max()) * 3, device)
    assert max(short.read.values()) <= first.max() and short.read[8] < openings.read[8]
    for config in (CONFIG, TrainConfig(entropy_coef=0.1, kl_coef=0.05, kl_kind="k3", micro_tokens=512, minibatch=100)):
        once = gradient(learner, batch, config)
        with monkeypatch.context() as patch:
            patch.setattr(SharedOpenings, "worth_it", staticmethod(lambda *a: False))
            close(once, gradient(learner, batch, config))


def test_a_small_model_reads_what_rollouts_have_in_common_once(learner, rollouts, monkeypatch):
    """The gradient is that of the model's own forward on every row, whatever the micro-batches."""
    batch = training_batch([*rollouts, replace(rollouts[3], id="again")])
    for config in (CONFIG, TrainConfig(entropy_coef=0.1, kl_coef=0.05, kl_kind="k3", micro_tokens=512, minibatch=100)):
        once = gradient(learner, batch, config)
        with monkeypatch.context() as patch:
            patch.setattr(split_model, "fast_model", lambda model: None)
            patch.setattr(SharedOpenings, "worth_it", staticmethod(lambda *a: False))
            close(once, gradient(learner, batch, config))
    rows = np.arange(len(batch.trajectories))
    micro = list(batch.micro_batches(rows, 512, torch.device("cpu"), shared=True))
    assert len(micro) > 1 and sorted(i for m in micro for i in m.chosen) == rows.tolist()


def test_openings_are_not_shared_where_a_layer_sees_a_window(policy):
    """Their masks are another matter: such a model reads every row whole."""
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
