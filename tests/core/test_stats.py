"""Intervals, the bootstrap and rank statistics: against scipy, by hand, and by how often an interval covers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from actfocus_core.stats import (
    auroc,
    gain_interval,
    kendall,
    mean_interval,
    midranks,
    partial_spearman,
    percentile_interval,
    resamples,
    spearman,
    spearman_p,
    stratified_resamples,
    success_interval,
    wilson_interval,
)

pairs = st.lists(st.tuples(st.integers(-3, 3), st.floats(-2, 2)), min_size=4, max_size=30)


# --- intervals of means -----------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 8, 32, 500])
def test_students_t_is_scipys(n):
    values = np.random.default_rng(n).normal(size=n)
    found, expected = mean_interval(values), stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.value == values.mean()
    assert found[1:] == pytest.approx((expected.low, expected.high), rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 8, 31])
def test_wilson_is_scipys(n):
    for k in range(n + 1):
        expected = stats.binomtest(k, n).proportion_ci(0.95, "wilson")
        assert wilson_interval(k / n, n) == (k / n, expected.low, expected.high)


def test_one_value_has_no_interval():
    for interval in (mean_interval, success_interval, gain_interval):
        found = interval(np.array([0.25]))
        assert found.value == 0.25 and np.isnan(found[1:]).all()


@given(st.lists(st.sampled_from([0, 0.25, 0.5, 0.75, 1]), min_size=2, max_size=12))
def test_the_interval_of_success_has_width_and_stays_in_its_range(rates):
    found = success_interval(np.array(rates, float))
    assert 0 <= found.low <= found.value <= found.high <= 1 and found.low < found.high
    if len(set(rates)) > 1:
        t = mean_interval(np.array(rates, float))
        assert found == (t.value, max(t.low, 0), min(t.high, 1))
    else:
        assert found == wilson_interval(rates[0], len(rates))


@given(st.lists(st.sampled_from([-1, -0.5, 0, 0.25, 1]), min_size=2, max_size=12))
def test_the_interval_of_a_gain_has_width_and_stays_in_its_range(gains):
    found = gain_interval(np.array(gains, float))
    assert -1 <= found.low <= found.value <= found.high <= 1 and found.low < found.high


def test_equal_gains_are_no_proof():
    """Nothing moved on 8 prompts: up to 0 of 8 by Wilson, 0.32, of all prompts may still go either way."""
    reach = wilson_interval(0, 8).high
    assert gain_interval(np.zeros(8)) == (0, -reach, reach) and 0.32 < reach < 0.33
    assert gain_interval(np.full(8, 0.5)) == pytest.approx((0.5, 0.5 - 1.5 * reach, 0.5 + 0.5 * reach))


def coverage(prompts, rollouts, rate, alike, repetitions=2000):
    """Share of evaluations whose interval of success holds the true rate."""
    rng = np.random.default_rng(prompts)
    shape = (repetitions, prompts)
    rates = np.full(shape, rate) if alike else rng.beta(2 * rate, 2 * (1 - rate), shape)
    found = [success_interval(row) for row in rng.binomial(rollouts, rates) / rollouts]
    return np.mean([low <= rate <= high for _, low, high in found])


@pytest.mark.parametrize("rate", [0.08, 0.5, 0.9])
@pytest.mark.parametrize("prompts", [8, 32])
def test_the_interval_of_success_covers_about_as_often_as_it_says(prompts, rate):
    """Over 20,000 evaluations, of prompts with one rate / with rates of a beta distribution of a + b = 2:

    | prompts x rollouts | interval | rate 0.08 | rate 0.5 | rate 0.9 |
    |---|---|---|---|---|
    | 32 x 4 | mean +- 1.96 standard errors | 0.94 / 0.89 | 0.94 / 0.94 | 0.94 / 0.90 |
    | 32 x 4 | success_interval | 0.94 / 0.89 | 0.95 / 0.95 | 0.94 / 0.91 |
    | 8 x 4 | mean +- 1.96 standard errors | 0.92 / 0.81 | 0.91 / 0.90 | 0.82 / 0.72 |
    | 8 x 4 | success_interval | 0.99 / 1.00 | 0.94 / 0.94 | 1.00 / 1.00 |
    | 4 x 1 | mean +- 1.96 standard errors | 0.29 / 0.29 | 0.87 / 0.87 | 0.34 / 0.34 |
    | 4 x 1 | success_interval | 1.00 / 1.00 | 0.87 / 0.87 | 1.00 / 1.00 |

    What stays below 0.90: rare success that differs much between 32 prompts, whose means are too skewed for
    Student's t; and 4 x 1 near a half, where Wilson's interval of none of 4 ends at 0.49.
    """
    assert coverage(prompts, 4, rate, alike=True) >= 0.90
    skewed = (prompts, rate) == (32, 0.08)
    assert coverage(prompts, 4, rate, alike=False) >= (0.87 if skewed else 0.90)


# --- the bootstrap ----------------------------------------------------------------------------


def test_strata_keep_their_sizes():
    stratum = np.array([2, 0, 1, 0, 2, 2, 0])
    counts = stratified_resamples(stratum, 50, np.random.default_rng(0))
    for s in range(3):
        assert (counts[:, stratum == s].sum(1) == (stratum == s).sum()).all()
    assert counts.std(0)[stratum != 1].min() > 0


# --- rank statistics --------------------------------------------------------------------------


@given(pairs)
def test_spearman_and_midranks_are_scipys(items):
    x, y = (np.array(v, float) for v in zip(*items))
    np.testing.assert_allclose(midranks(x, np.ones((1, len(x))))[0], stats.rankdata(x))
    rho = spearman(x, y)[0]
    if len(set(x)) > 1 and len(set(y)) > 1:
        expected = stats.spearmanr(x, y)
        assert rho == pytest.approx(expected.statistic, abs=1e-9)
        if abs(rho) < 1 - 1e-9:
            assert spearman_p(rho, len(x)) == pytest.approx(expected.pvalue, rel=1e-6)
    else:
        assert np.isnan(rho)


@given(pairs, st.integers(0, 1000))
def test_kendall_is_scipys_also_of_items_written_out(items, seed):
    x, y = (np.array(v, float) for v in zip(*items))
    counts = np.vstack([np.ones(len(x)), resamples(4, len(x), np.random.default_rng(seed))])
    for tau, row in zip(kendall(x, y, counts), counts.astype(int)):
        a, b = np.repeat(x, row), np.repeat(y, row)
        if len(set(a)) > 1 and len(set(b)) > 1:
            assert tau == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-9)
        else:
            assert np.isnan(tau)


def test_kendall_of_more_items_than_are_paired_at_once():
    x, y = np.random.default_rng(0).normal(size=(2, 700)).round(1)
    assert kendall(x, x + y)[0] == pytest.approx(stats.kendalltau(x, x + y).statistic)


@given(pairs, st.integers(0, 1000))
def test_multiplicities_are_the_items_written_out(items, seed):
    x, y = (np.array(v, float) for v in zip(*items))
    counts = resamples(5, len(x), np.random.default_rng(seed))
    assert (counts.sum(1) == len(x)).all()
    label = y > 0
    for rho, area, row in zip(spearman(x, y, counts), auroc(midranks(x, counts), label, counts), counts.astype(int)):
        written = np.repeat(np.arange(len(x)), row)
        np.testing.assert_allclose(rho, spearman(x[written], y[written])[0], atol=1e-9)
        if label[written].any() and not label[written].all():
            up, down = x[written][label[written]], x[written][~label[written]]
            by_pairs = np.mean([(a > b) + 0.5 * (a == b) for a in up for b in down])
            assert area == pytest.approx(by_pairs, abs=1e-9)


def test_partial_correlation_takes_out_a_common_cause():
    rng = np.random.default_rng(0)
    cause = rng.normal(size=4000)
    x, y = cause + rng.normal(size=4000), cause + rng.normal(size=4000)
    assert spearman(x, y)[0] > 0.4
    assert abs(partial_spearman(x, y, [cause])[0]) < 0.05
    assert partial_spearman(x, x + 0.1 * rng.normal(size=4000), [cause])[0] > 0.9
    assert np.isnan(partial_spearman(cause, y, [cause**3])[0])


def test_partial_correlation_by_the_formula_of_three():
    rng = np.random.default_rng(1)
    x, y, z = rng.normal(size=(3, 40)) + rng.normal(size=40)
    xy, xz, yz = (stats.spearmanr(a, b).statistic for a, b in ((x, y), (x, z), (y, z)))
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_spearman(x, y, [z])[0] == pytest.approx(expected)


def test_the_interval_covers_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        x = rng.normal(size=60)
        y = x + rng.normal(size=60)
        value = percentile_interval(spearman(x, y)[0], spearman(x, y, resamples(200, 60, rng)))
        # The true rho of a bivariate normal with r = sqrt(1/2).
        hits += value.low <= 6 / np.pi * np.arcsin(np.sqrt(0.5) / 2) <= value.high
    assert 175 <= hits <= 200
