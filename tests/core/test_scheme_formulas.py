"""Each credit scheme computed a second time, from its formula."""

import copy
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actfocus_core.advantages import gae
from actfocus_core.credit import Batch, get_scheme
from actfocus_core.credit.a2tgpo import information_gain
from actfocus_core.credit.aem import turn_scales
from actfocus_core.credit.gtpo import shaped_rewards
from actfocus_core.trajectory import TokenKind

from .batches import advantages, by_group, made, returns_to_go, seeds, split, turns_of


def test_dr_grpo_divides_by_a_constant():
    ts, batch = made()
    credit = get_scheme("dr_grpo").compute(batch, length=50)
    expected = advantages(ts, std=False)[batch.index] * batch.response / (50 * len(ts))
    np.testing.assert_allclose(credit.effective(), expected, rtol=1e-5)
    # A longer trajectory does not take from the others.
    shorter = Batch.of([ts[0]] + [t for t in ts[1:] if t.group != ts[0].group])
    assert get_scheme("dr_grpo").compute(shorter).divisor == 2000 * len(shorter.ids)


@given(seed=seeds, quantile=st.floats(0, 1))
def test_top_entropy_keeps_the_most_uncertain(seed, quantile):
    _, batch = made(seed)
    credit = get_scheme("top_entropy").compute(batch, quantile=quantile)
    kept, entropy = credit.keep > 0, batch.signals["policy_entropy"]
    left = batch.response & ~kept
    assert kept.any() and (not left.any() or entropy[left].max() < entropy[kept].min())
    assert left.sum() <= quantile * batch.response.sum() + 1
    assert credit.effective()[left].any() == np.False_
    total = np.abs(credit.effective()).sum()
    np.testing.assert_allclose(total, np.abs(batch.grpo()[kept]).mean(), rtol=1e-5)


def test_gtpo_again_token_by_token():
    ts, batch = made(3, rollouts=6)
    a1, a2 = 0.7, 0.4
    found = split(get_scheme("gtpo").compute(batch, a1=a1, a2=a2).advantage, ts)
    for members in by_group(ts):
        for good in (True, False):
            own = [i for i in members if ts[i].success == good]
            entropy = {i: ts[i].signals["entropy"][ts[i].response_mask].astype(float) for i in own}
            shaped = {}
            for i in own:
                for t, h in enumerate(entropy[i]):
                    alive = [entropy[j][t] for j in own if len(entropy[j]) > t]
                    if good:
                        shaped[i, t] = a1 * ts[i].ret + a2 * len(alive) * h / sum(alive)
                    else:
                        shaped[i, t] = -a1 - a2 * len(alive) * (1 / h) / sum(1 / x for x in alive)
            values = np.array(list(shaped.values()))
            if len(values) and values.std() > 1e-9:
                for (i, t), r in shaped.items():
                    where = np.flatnonzero(ts[i].response_mask)[t]
                    assert found[i][where] == pytest.approx((r - values.mean()) / values.std(), abs=1e-4)


def test_gtpo_together_keeps_the_outcome_and_apart_loses_it():
    _, batch = made(3, rollouts=6)
    good = (batch.success[batch.index] == 1) & batch.response
    bad = (batch.success[batch.index] == 0) & batch.response
    apart, together = (get_scheme("gtpo").compute(batch, scope=s).advantage for s in ("apart", "together"))
    for half in (good, bad):
        assert abs(apart[half].mean()) < 1e-5
    mixed = [g for g in set(batch.group_of) if len(set(batch.success[batch.group_of == g])) == 2]
    for g in mixed:
        own = batch.group_of[batch.index] == g
        assert together[own & good].min() > 0 > together[own & bad].max()
        assert abs(together[own & batch.response].mean()) < 1e-5


@given(seed=seeds)
@settings(max_examples=20)
def test_gtpo_the_live_successes_share_what_they_are_given(seed):
    ts, _ = made(seed, rollouts=5)
    for t in ts:
        for record in t.turn_records:
            record.penalty = 0.0
        t.penalty = 0.0
    batch = Batch.of(ts)
    r, half = shaped_rewards(batch, 1.0, 0.1)
    position = batch.response_index[batch.response]
    assert (half % 2 == batch.success[batch.index][batch.response]).all()
    for one in set(half[half % 2 == 1]):
        for place in set(position[half == one]):
            here = (half == one) & (position == place)
            assert r[here].sum() == pytest.approx(1.1 * here.sum())


def test_empg_again_turn_by_turn():
    ts, batch = made(1)
    kappa, zeta = 1.5, 0.2
    a = advantages(ts)
    entropy = {
        (i, k): ts[i].signals["entropy"][where].astype(float).mean()
        for i in range(len(ts))
        for k, where in turns_of(ts[i])
    }
    low, high = min(entropy.values()), max(entropy.values())
    clarity = {key: np.exp(-kappa * (h - low) / (high - low)) for key, h in entropy.items()}
    mean = np.mean(list(clarity.values()))
    expected = {
        (i, k): a[i] * c / mean + (zeta * clarity[i, k + 1] if (i, k + 1) in clarity else 0)
        for (i, k), c in clarity.items()
    }
    shift = np.mean(list(expected.values()))
    found = split(get_scheme("empg").compute(batch, kappa=kappa, zeta=zeta).advantage, ts)
    for (i, k), value in expected.items():
        np.testing.assert_allclose(found[i][dict(turns_of(ts[i]))[k]], value - shift, atol=1e-5)


@given(seed=seeds)
@settings(max_examples=20)
def test_empg_without_entropy_is_mean_centred_grpo(seed):
    ts, batch = made(seed)
    found = get_scheme("empg").compute(batch, kappa=0, zeta=0).advantage
    per_turn = np.concatenate([[x] * len(t.turn_records) for x, t in zip(advantages(ts), ts)])
    expected = np.where(batch.response, advantages(ts)[batch.index] - per_turn.mean(), 0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@given(seed=seeds, lam=st.floats(0, 5))
@settings(max_examples=30)
def test_aem_coefficients_have_mean_one_in_a_group_and_fall_with_entropy(seed, lam):
    ts, batch = made(seed)
    a, entropy = turn_scales(batch, lam), batch.turn_mean(batch.signals["policy_entropy"])
    group = batch.group_of[batch.turn_owner]
    for g in set(group):
        assert a[group == g].mean() == pytest.approx(1)
        order = np.argsort(entropy[group == g])
        assert (np.diff(a[group == g][order]) <= 1e-12).all()
    found = split(get_scheme("aem").compute(batch, lam=lam).advantage, ts)
    k = 0
    for t, values, plain in zip(ts, found, advantages(ts)):
        for _, where in turns_of(t):
            np.testing.assert_allclose(values[where], plain * a[k], atol=1e-5)
            k += 1


def test_aem_leaves_a_group_of_like_turns_alone():
    ts, _ = made()
    for t in ts[:4]:
        t.signals["entropy"] = np.where(t.response_mask, 1 + 0.001 * np.arange(len(t)), np.nan)
    batch = Batch.of(ts)
    a, first = turn_scales(batch, 1.0), batch.group_of[batch.turn_owner] == 0
    assert (a[first] == 1).all() and not (a[~first] == 1).all()


@pytest.mark.parametrize("params", [{}, {"step": 150}, {"step": 10_000}, {"form": "entropy"}])
def test_rest_has_mean_one_a_trajectory(params):
    ts, batch = made(2)
    credit = get_scheme("rest").compute(batch, **params)
    for t, w in zip(ts, split(credit.weight, ts)):
        assert w[t.response_mask].mean() == pytest.approx(1, abs=1e-6)
        region = {k: np.unique(w[t.kinds == k].round(5)) for k in (3, 4, 5)}
        assert all(len(values) <= 1 for values in region.values())
        if params.get("form") == "entropy":
            h = {k: t.signals["entropy"][t.kinds == k].mean() for k in (3, 4, 5)}
            ratio = (1 - np.exp(-h[3])) / (1 - np.exp(-h[4]))
        else:
            ratio = 1.2 / min(0.6 + 0.002 * params.get("step", 0), 1.0)
        assert w[t.kinds == 4][0] / w[t.kinds == 3][0] == pytest.approx(ratio, rel=1e-4)


@pytest.mark.parametrize("mode", ["mean", "mean_std"])
def test_gigpo_again_state_by_state(mode):
    ts, batch = made(4, rollouts=6)
    omega, gamma = 0.7, 0.9
    found = split(get_scheme("gigpo").compute(batch, omega=omega, gamma=gamma, mode=mode).advantage, ts)
    a = advantages(ts, std=mode == "mean_std")
    same = defaultdict(list)
    for t in ts:
        for k, g in enumerate(returns_to_go(t, gamma)):
            same[t.group, t.turn_records[k].state_key].append(g)
    assert max(map(len, same.values())) > 2
    for t, values, episode in zip(ts, found, a):
        for (k, where), g in zip(turns_of(t), returns_to_go(t, gamma)):
            peers = np.array(same[t.group, t.turn_records[k].state_key])
            step = (g - peers.mean()) / (1 if mode == "mean" else peers.std() + 1e-6)
            np.testing.assert_allclose(values[where], episode + omega * step, atol=1e-3 if mode == "mean_std" else 1e-5)


def test_a_state_alone_gets_exactly_nothing():
    ts, _ = made()
    for n, t in enumerate(ts):
        for k, record in enumerate(t.turn_records):
            record.state_key = f"{n} {k}"
    batch = Batch.of(ts)
    for mode, std in (("mean", False), ("mean_std", True)):
        np.testing.assert_array_equal(get_scheme("gigpo").compute(batch, mode=mode).advantage, batch.grpo(std))


def test_carl_again_by_walking_the_tree():
    ts, batch = made(5, rollouts=8, states=2)
    found = get_scheme("carl").compute(batch)
    advantage, keep = split(found.advantage, ts), split(found.keep, ts)
    paths = {i: [r.state_key for r in t.turn_records] for i, t in enumerate(ts)}

    def value(group, path):
        through = [ts[i].ret for i in range(len(ts)) if ts[i].group == group and paths[i][: len(path)] == path]
        return np.mean(through), len(through)

    for i, t in enumerate(ts):
        for k, where in turns_of(t):
            here, visitors = value(t.group, paths[i][: k + 1])
            after = t.ret if k == len(paths[i]) - 1 else value(t.group, paths[i][: k + 2])[0]
            np.testing.assert_allclose(advantage[i][where], after - here, atol=1e-6)
            assert (keep[i][where] == (visitors > 1)).all()


def turn_sums(values, ts):
    """Sum over a trajectory's turns of a value that stands on all tokens of a turn."""
    return np.array([sum(v[where[0]] for _, where in turns_of(t)) for t, v in zip(ts, split(values, ts))])


@given(seed=seeds)
@settings(max_examples=20)
def test_sums_that_telescope(seed):
    ts, batch = made(seed)
    returns = np.array([t.ret for t in ts])
    vine = get_scheme("vineppo").compute(batch).advantage
    np.testing.assert_allclose(
        turn_sums(vine, ts), returns - [t.signals["policy_v"][turns_of(t)[0][1][0]] for t in ts], atol=1e-5
    )
    carl = get_scheme("carl").compute(batch).advantage
    root = defaultdict(list)
    for t in ts:
        root[t.group, t.turn_records[0].state_key].append(t.ret)
    np.testing.assert_allclose(
        turn_sums(carl, ts), [t.ret - np.mean(root[t.group, t.turn_records[0].state_key]) for t in ts], atol=1e-5
    )
    gain = np.bincount(batch.turn_owner, information_gain(batch))
    ends = [
        np.exp(t.signals["answer_logprob_after"][turns_of(t)[-1][1][0]])
        - np.exp(t.signals["answer_logprob_before"][turns_of(t)[0][1][0]])
        for t in ts
    ]
    np.testing.assert_allclose(gain, ends, atol=1e-5)


def test_a2tgpo_again_turn_by_turn():
    ts, batch = made(6, rollouts=5)
    share, gamma, clip = 0.4, 0.8, 0.25
    credit = get_scheme("a2tgpo").compute(batch, share=share, gamma=gamma, clip=clip)
    gains = [
        [
            float(np.exp(t.signals["answer_logprob_after"][w[0]]) - np.exp(t.signals["answer_logprob_before"][w[0]]))
            for _, w in turns_of(t)
        ]
        for t in ts
    ]
    z = copy.deepcopy(gains)
    for members in by_group(ts):
        for k in range(max(len(gains[i]) for i in members)):
            column = np.array([gains[i][k] for i in members if k < len(gains[i])])
            for i in members:
                if k < len(gains[i]):
                    z[i][k] = (gains[i][k] - column.mean()) / column.std() if column.std() > 1e-9 else 0.0
    assert credit.ratio_unit == "turn"
    for t, own, a, found, scale in zip(
        ts, z, advantages(ts), split(credit.advantage, ts), split(credit.clip_scale, ts)
    ):
        for k, where in turns_of(t):
            rest = own[k:]
            d = sum(gamma**j * g for j, g in enumerate(rest)) / np.sqrt(len(rest))
            np.testing.assert_allclose(found[where], a + share * d, atol=1e-4)
            c = 1 if k == len(own) - 1 else 1 + clip * (2 / (1 + np.exp(-own[k])) - 1)
            np.testing.assert_allclose(scale[where], c, atol=1e-4)


@given(seed=seeds, gamma=st.sampled_from([0.0, 0.9, 1.0]), lam=st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=20)
def test_gae_of_all_is_gae_of_each(seed, gamma, lam):
    ts, batch = made(seed)
    tokens = split(get_scheme("ppo_gae").compute(batch, gamma=gamma, lam=lam).advantage, ts)
    turns = split(get_scheme("turn_gae").compute(batch, gamma=gamma, lam=lam, whiten="no").advantage, ts)
    for t, by_token, by_turn in zip(ts, tokens, turns):
        values = t.signals["value"][t.response_mask]
        rewards = np.zeros(len(values))
        rewards[-1] = t.ret
        np.testing.assert_allclose(by_token[t.response_mask], gae(rewards, values, gamma, lam)[0], atol=1e-5)
        first = [w[0] for _, w in turns_of(t)]
        expected = gae([r.reward + r.penalty for r in t.turn_records], t.signals["value"][first], gamma, lam)[0]
        np.testing.assert_allclose(by_turn[first], expected, atol=1e-5)


def test_turn_gae_whitened_over_turns():
    _, batch = made()
    a = get_scheme("turn_gae").compute(batch).advantage[batch.turn_first]
    assert a.mean() == pytest.approx(0, abs=1e-6) and a.std() == pytest.approx(1, abs=1e-5)
    raw = get_scheme("turn_gae").compute(batch, whiten="no").advantage[batch.turn_first]
    assert np.corrcoef(a, raw)[0, 1] == pytest.approx(1)


@pytest.mark.parametrize(("name", "of"), [("oracle", "policy"), ("oracle_optimal", "oracle")])
def test_the_oracle_gives_q_minus_v_to_action_tokens_alone(name, of):
    ts, batch = made()
    credit = get_scheme(name).compute(batch)
    action = batch.kinds == TokenKind.ACTION
    q, v = (np.concatenate([t.signals[f"{of}_{x}"] for t in ts])[action] for x in "qv")
    np.testing.assert_allclose(credit.effective()[action], (q - v) / action.sum(), rtol=1e-5, atol=1e-8)
    assert not credit.effective()[~action].any()
