import copy

import numpy as np
import pytest

from actfocus_core.advantages import grpo_advantages
from actfocus_core.analysis.diagnostics import gradient_mass
from actfocus_core.credit import SCHEMES, Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.trajectory import TokenKind


@pytest.fixture(scope="module")
def batch(rollouts):
    return Batch.of(rollouts)


def test_grpo_advantages_are_standardised_once_a_trajectory():
    a = grpo_advantages(np.array([1.0, 0.0, 0.0, 1.0, 5.0, 5.0]), list("aaaabb"))
    np.testing.assert_allclose(a, [1, -1, -1, 1, 0, 0], atol=1e-5)
    assert (a[4:] == 0).all()
    np.testing.assert_allclose(grpo_advantages(np.array([3.0, 1.0]), ["x", "x"], std=False), [1, -1])


def test_equal_returns_give_exactly_zero_whatever_their_rounding():
    assert (grpo_advantages(np.full(7, 0.1) * 3, ["g"] * 7) == 0).all()


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_gives_credit_to_response_tokens_alone(name, batch):
    credit = get_scheme(name).compute(batch)
    outside = ~batch.response
    assert (credit.weight[outside] == 0).all() and (credit.advantage[outside] == 0).all()
    needs = get_scheme(name).needs
    assert credit.missing == tuple(n for n in needs if not batch.has(n))
    assert np.isfinite(credit.weight).all() != bool(credit.missing)


def test_uniform_is_the_token_mean(batch):
    credit = get_scheme("uniform").compute(batch)
    np.testing.assert_allclose(credit.effective(), batch.grpo() / batch.response.sum(), rtol=1e-6)


def test_actfocus_without_weights_is_uniform(batch):
    one = get_scheme("actfocus").compute(batch, alpha=1.0, beta=0.0)
    np.testing.assert_array_equal(one.weight, get_scheme("uniform").compute(batch).weight)


def test_the_presets(batch):
    action = batch.kinds == TokenKind.ACTION
    reasoning = batch.kinds == TokenKind.REASONING
    role, energy = (get_scheme(n).compute(batch).weight for n in ("role_only", "energy_only"))
    assert (role[action] == 1).all() and np.allclose(role[reasoning], 0.1)
    assert (energy[reasoning] == 1).all() and energy[action].min() > 1 and energy[action].max() < 1.5


def test_a_missing_signal_is_said_and_gives_no_number(rollouts):
    bare = copy.deepcopy(rollouts)
    for t in bare:
        t.signals.clear()
    batch = Batch.of(bare)
    credit = get_scheme("actfocus").compute(batch)
    assert credit.missing == ("energy",) and np.isnan(credit.weight[batch.response]).all()
    assert get_scheme("role_only").compute(batch).missing == ()
    assert get_scheme("actfocus").compute(batch, signal="nll").missing == ()


def test_order_of_the_rollouts_does_not_matter(rollouts, batch):
    there = get_scheme("actfocus").compute(batch)
    back = Batch.of(rollouts[::-1])
    again = get_scheme("actfocus").compute(back)
    for i, name in enumerate(batch.ids):
        mine, other = batch.index == i, back.index == back.ids.index(name)
        np.testing.assert_allclose(there.effective()[mine], again.effective()[other], atol=1e-9)


def test_unknown_names_and_parameters_are_refused(batch):
    with pytest.raises(ActFocusError, match="unknown scheme 'magic'"):
        get_scheme("magic")
    with pytest.raises(ActFocusError, match="unknown parameter 'gamma'"):
        get_scheme("actfocus").compute(batch, gamma=1)
    with pytest.raises(ActFocusError, match="alpha=2"):
        get_scheme("actfocus").compute(batch, alpha=2)


def test_gradient_mass_by_hand():
    kinds = np.array([3, 3, 3, 4, 5, 1])
    mass = gradient_mass(kinds, np.array([0.1, 0.1, 0.1, 1.5, 0.1, 99]))
    assert mass["kinds"]["action"] == {
        "tokens": 1,
        "token_share": 0.2,
        "mass": 1.5,
        "mass_share": pytest.approx(1.5 / 1.9),
    }
    assert mass["effective_tokens"] == pytest.approx(1.9**2 / (4 * 0.01 + 2.25))


def test_uniform_mass_is_the_token_share_and_all_tokens_count(batch):
    mass = gradient_mass(batch.kinds, get_scheme("uniform").compute(batch).weight)
    assert all(k["mass_share"] == pytest.approx(k["token_share"]) for k in mass["kinds"].values())
    assert mass["effective_tokens"] == pytest.approx(mass["tokens"]) == batch.response.sum()


@pytest.mark.parametrize(("share", "alone", "both"), [(0.04, 29, 34), (0.10, 53, 58), (0.16, 66, 70)])
def test_the_shares_of_method_section_7(share, alone, both):
    """alpha alone, and with beta at the mean sigmoid of one half."""
    n = 10_000
    kinds = np.where(np.arange(n) < share * n, TokenKind.ACTION, TokenKind.REASONING)
    for weight, expected in ((1.0, alone), (1.25, both)):
        mass = gradient_mass(kinds, np.where(kinds == TokenKind.ACTION, weight, 0.1))
        assert round(100 * mass["kinds"]["action"]["mass_share"]) == expected
