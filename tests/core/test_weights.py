import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from actfocus_core.credit import signal_stats, token_weights
from actfocus_core.credit.weights import pooled
from actfocus_core.errors import ActFocusError
from actfocus_core.trajectory import TokenKind

ACTION, REASONING, FORMAT, USER = (TokenKind.ACTION, TokenKind.REASONING, TokenKind.FORMAT, TokenKind.USER)


def test_the_formula_by_hand():
    kinds = np.array([USER, REASONING, ACTION, ACTION, FORMAT])
    weights = token_weights(kinds, np.array([np.nan, 9.0, 1.0, 3.0, 9.0]), alpha=0.1, beta=0.5)
    low, high = 1 + 0.5 / (1 + np.e), 1 + 0.5 / (1 + np.exp(-1))  # mu 2, sigma 1: z = -1 and 1
    np.testing.assert_allclose(weights, [0, 0.1, low, high, 0.1], rtol=1e-6)


@given(hnp.arrays(np.uint8, st.integers(1, 60), elements=st.integers(0, 5)), st.randoms())
def test_alpha_one_beta_zero_is_exactly_one(kinds, random):
    signal = np.array([random.uniform(-30, 30) for _ in kinds])
    weights = token_weights(kinds, signal, 1.0, 0.0)
    assert (weights == np.where(kinds >= REASONING, 1, 0)).all()


def test_a_signal_that_is_the_same_everywhere_gives_half_the_sigmoid():
    weights = token_weights(np.full(4, ACTION), np.full(4, -7.25), 0.1, 0.5)
    np.testing.assert_array_equal(weights, np.full(4, 1.25, np.float32))


def test_extreme_signals_stay_finite():
    weights = token_weights(np.full(3, ACTION), np.array([-1e30, 0, 1e30]), 0.0, 2.0)
    assert np.isfinite(weights).all() and (np.diff(weights) > 0).all()


@settings(max_examples=50)
@given(
    hnp.arrays(np.float64, (3, 7), elements=st.floats(-20, 20)),
    st.floats(-50, 50),
    hnp.arrays(np.uint8, (3, 7), elements=st.integers(0, 5)),
)
def test_a_shift_of_all_signals_changes_nothing_and_neither_does_the_shape(signal, shift, kinds):
    weights = token_weights(kinds, signal, 0.1, 0.5)
    np.testing.assert_allclose(token_weights(kinds, signal + shift, 0.1, 0.5), weights, atol=2e-4)
    np.testing.assert_array_equal(token_weights(kinds.ravel(), signal.ravel(), 0.1, 0.5), weights.ravel())


def test_only_action_tokens_enter_mu_and_sigma():
    kinds = np.array([REASONING, ACTION, ACTION])
    one, other = (token_weights(kinds, np.array([x, 1.0, 2.0]), 0.1, 0.5) for x in (0.0, 1e6))
    np.testing.assert_array_equal(one, other)


def test_format_weight_replaces_alpha_on_format_alone():
    weights = token_weights(np.array([REASONING, FORMAT, ACTION]), None, 0.1, 0.0, format_weight=0.7)
    np.testing.assert_allclose(weights, [0.1, 0.7, 1.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("alpha", "beta", "says"),
    [
        (-0.1, 0, "alpha"),
        (1.1, 0, "alpha"),
        (np.nan, 0, "alpha"),
        (0, -1, "beta"),
        (0, np.inf, "beta"),
        (0, np.nan, "beta"),
    ],
)
def test_parameters_out_of_range_are_refused(alpha, beta, says):
    with pytest.raises(ActFocusError, match=says):
        token_weights(np.array([ACTION]), np.array([0.0]), alpha, beta)


def test_an_unscored_action_token_is_refused_and_not_guessed():
    with pytest.raises(ActFocusError, match="1 of 2 action tokens have no signal"):
        token_weights(np.array([ACTION, ACTION]), np.array([0.0, np.nan]), 0.1, 0.5)


@given(st.lists(st.lists(st.floats(-60, 0, width=32), max_size=12), min_size=1, max_size=5), st.booleans())
def test_statistics_of_parts_are_those_of_the_whole(parts, read):
    """Whichever process holds which tokens, and with tokens among them that are no actions."""
    values = [np.array([*part, *([99.0] if read else [])], np.float32) for part in parts]
    kinds = [np.array([ACTION] * len(part) + ([USER] if read else []), np.uint8) for part in parts]
    whole = signal_stats(np.concatenate(kinds), np.concatenate(values))
    found = pooled(signal_stats(k, v) for k, v in zip(kinds, values))
    assert found.count == whole.count
    assert (found.mean, found.std) == pytest.approx((whole.mean, whole.std), rel=1e-6, abs=1e-6)
