"""The invariants of every credit scheme, and each computed again another way on small batches."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings

from actfocus_core.credit import CONTROLS, HOW_TO_GET, SCHEMES, Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.trajectory import TokenKind

from .batches import advantages, made, seeds, split, trajectories, trajectory

CONTROLLED = [f"{control}:{name}" for control in CONTROLS for name in ("actfocus", "top_entropy", "empg", "carl")]
EVERY = [*SCHEMES, *CONTROLLED]


@pytest.mark.parametrize("name", EVERY)
def test_each_says_what_it_is(name):
    scheme = get_scheme(name)
    assert scheme.name == name and scheme.title and scheme.source
    assert scheme.description.endswith(".") and scheme.description.count(". ") == 0
    assert scheme.read in ("code", "paper", "second hand", "ours") and scheme.cost in ("C0", "C1", "C2", "C3")
    assert scheme.unit in ("token", "turn", "trajectory")
    assert scheme.evidence in ("restored state", "observational", "model-relative", "proxy")
    assert set(scheme.needs) <= set(HOW_TO_GET)
    for parameter in scheme.parameters.values():
        parameter.check("its default", parameter.default)


@pytest.mark.parametrize("name", EVERY)
def test_nothing_outside_the_response_and_no_nan(name):
    _, batch = made()
    credit = get_scheme(name).compute(batch)
    assert not credit.missing
    for array in (credit.advantage, credit.weight, credit.keep, credit.clip_scale):
        assert array.dtype == np.float32 and array.shape == batch.kinds.shape and np.isfinite(array).all()
    assert (credit.effective()[~batch.response] == 0).all() and credit.effective().any()
    assert (credit.keep[~batch.response] == 0).all() and (credit.weight >= 0).all()


@pytest.mark.parametrize("name", EVERY)
@given(seed=seeds)
@settings(max_examples=8)
def test_order_of_the_rollouts_does_not_matter(name, seed):
    ts, batch = made(seed)
    shuffled = [ts[i] for i in np.random.default_rng(seed).permutation(len(ts))]
    there = dict(zip(batch.ids, split(get_scheme(name).compute(batch).effective(), ts)))
    other = Batch.of(shuffled)
    for t, again in zip(shuffled, split(get_scheme(name).compute(other).effective(), shuffled)):
        np.testing.assert_allclose(again, there[t.id], rtol=1e-5, atol=1e-7)


def padded(t, rng):
    """The same trajectory with unscored template tokens strewn in, as a padded layout would have."""
    where = np.sort(rng.integers(0, len(t) + 1, 5))
    out = copy.copy(t)
    for name, filler in (("token_ids", 0), ("kinds", int(TokenKind.TEMPLATE)), ("logprobs", np.nan)):
        setattr(out, name, np.insert(getattr(t, name), where, filler))
    # A pad belongs to the turn it stands in.
    out.turns = np.insert(t.turns, where, np.append(t.turns, t.turns[-1])[where])
    out.texts = np.insert(np.array(t.texts, object), where, "").tolist()
    out.signals = {k: np.insert(v, where, np.nan) for k, v in t.signals.items()}
    return out


@pytest.mark.parametrize("name", EVERY)
@given(seed=seeds)
@settings(max_examples=8)
def test_padding_does_not_matter(name, seed):
    ts, batch = made(seed)
    rng = np.random.default_rng(seed)
    wide = Batch.of([padded(t, rng) for t in ts])
    plain, pads = (get_scheme(name).compute(b) for b in (batch, wide))
    np.testing.assert_allclose(pads.effective()[wide.response], plain.effective()[batch.response], rtol=1e-6)
    np.testing.assert_array_equal(pads.clip_scale[wide.response], plain.clip_scale[batch.response])


@pytest.mark.parametrize("name", [n for n in EVERY if get_scheme(n).needs])
def test_what_is_missing_is_named_and_gives_no_number(name):
    for need in get_scheme(name).needs:
        ts, _ = made()
        for t in ts:
            t.signals.pop({"policy_entropy": "entropy"}.get(need, need), None)
            t.signals.pop(f"ref_{need}", None)
            t.success = None if need == "success" else t.success
            for record in t.turn_records:
                record.state_key = "" if need == "state_key" else record.state_key
                record.reward += need == "turn_reward"
        credit = get_scheme(name).compute(Batch.of(ts))
        assert credit.missing == (need,)
        assert np.isnan(credit.weight[credit.keep > 0]).all() and not credit.weight[credit.keep == 0].any()


@pytest.mark.parametrize("name", EVERY)
def test_parameters_out_of_range_are_refused(name):
    _, batch = made()
    scheme = get_scheme(name)
    with pytest.raises(ActFocusError, match="unknown parameter 'nonsense'"):
        scheme.compute(batch, nonsense=1)
    for key, parameter in scheme.parameters.items():
        bad = ["nonsense"] if parameter.choices else [float("nan"), "x", True, parameter.low - 1]
        for value in bad + ([parameter.high + 1] if np.isfinite(parameter.high) else []):
            with pytest.raises(ActFocusError, match=key):
                scheme.compute(batch, **{key: value})


@pytest.mark.parametrize(
    ("name", "params", "std"),
    [
        ("actfocus", {"alpha": 1.0, "beta": 0.0}, True),
        ("top_entropy", {"quantile": 0.0}, True),
        ("aem", {"lam": 0.0}, True),
        ("gigpo", {"omega": 0.0, "mode": "mean_std"}, True),
        ("gigpo", {"omega": 0.0}, False),
        ("a2tgpo", {"share": 0.0}, True),
    ],
)
@given(seed=seeds)
@settings(max_examples=10)
def test_limits_that_are_grpo(name, params, std, seed):
    ts, batch = made(seed)
    credit = get_scheme(name).compute(batch, **params)
    expected = np.where(batch.response, advantages(ts, std)[batch.index], 0)
    np.testing.assert_allclose(credit.effective(), expected / batch.response.sum(), atol=1e-7)


def test_a_trajectory_without_a_response_and_a_turn_without_one():
    ts, _ = made()
    silent = trajectory(np.random.default_rng(5), "silent", "prompt 0", 2)
    silent.kinds = np.where(silent.response_mask, TokenKind.TEMPLATE, silent.kinds).astype(np.uint8)
    half = trajectory(np.random.default_rng(6), "half", "prompt 1", 3)
    half.kinds = np.where(half.response_mask & (half.turns == 1), TokenKind.TEMPLATE, half.kinds).astype(np.uint8)
    batch = Batch.of([*ts, silent, half])
    assert len(batch.turn_owner) == sum(len(t.turn_records) for t in ts) + 2
    own = batch.turn_owner == len(ts) + 1
    assert batch.turn_rewards[own].sum() == pytest.approx(half.ret)
    for name in EVERY:
        assert np.isfinite(get_scheme(name).compute(batch).effective()).all(), name


def test_a_prompt_of_two_steps_is_two_groups():
    ts, _ = made()
    later = trajectories(99)
    for t in later:
        t.id, t.step = f"later {t.id}", 1
    both = Batch.of([*ts, *later])
    assert len(set(both.groups)) == 2 * len({t.group for t in ts})
    for name in ("uniform", "gigpo", "carl", "aem"):
        together = split(get_scheme(name).compute(both).advantage, [*ts, *later])
        for part, own in ((together[: len(ts)], ts), (together[len(ts) :], later)):
            alone = get_scheme(name).compute(Batch.of(own)).advantage
            np.testing.assert_allclose(np.concatenate(part), alone, atol=1e-6)


def test_no_response_at_all_gives_zeros():
    ts, _ = made()
    for t in ts:
        t.kinds = np.full(len(t), TokenKind.TEMPLATE, np.uint8)
    batch = Batch.of(ts)
    for name in EVERY:
        assert not get_scheme(name).compute(batch).effective().any(), name


@pytest.mark.parametrize("name", SCHEMES)
def test_credit_is_the_same_within_its_unit(name):
    """Of a token that is kept: what a scheme of turns or trajectories gives does not vary inside them."""
    _, batch = made(11)
    scheme = get_scheme(name)
    credit = scheme.compute(batch)
    kept = credit.keep > 0
    unit = {"token": np.arange(len(kept)), "turn": batch.turn_of, "trajectory": batch.index}[scheme.unit]
    values = (credit.weight * credit.advantage)[kept]
    spans = [np.ptp(values[unit[kept] == u]) for u in np.unique(unit[kept])]
    assert max(spans) < 1e-6
    coarser = {"token": batch.turn_of, "turn": batch.index}.get(scheme.unit)
    if coarser is not None:
        response, signed = batch.response, credit.signed
        assert max(np.ptp(signed[response & (coarser == u)]) for u in np.unique(coarser[response])) > 1e-3
