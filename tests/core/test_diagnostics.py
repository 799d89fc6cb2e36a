"""The action-bottleneck diagnostic and the comparison of schemes, each again another way."""

import json

import numpy as np
import pytest
from scipy import stats

from actfocus_core.analysis.comparison import compare
from actfocus_core.analysis.diagnostics import MIN_GROUPS, action_bottleneck, gradient_mass, trend_band
from actfocus_core.credit import SCHEMES, Batch, get_scheme
from actfocus_core.stats import partial_spearman

from .batches import trajectories


def found_row(found, signal, part):
    return next(r for r in found["correlations"] if (r["signal"], r["part"]) == (signal, part))


@pytest.fixture(scope="module")
def ts():
    return trajectories(0, groups=20, rollouts=6)


@pytest.fixture(scope="module")
def found(ts):
    return action_bottleneck(Batch.of(ts), bootstrap=300)


def test_groups_again_by_hand(ts, found):
    assert [g["group"] for g in found["groups"]] == list(dict.fromkeys(t.group for t in ts))
    for row in found["groups"]:
        own = [t for t in ts if t.group == row["group"]]
        assert row["rollouts"] == len(own) and row["success"] == np.mean([t.success for t in own])
        assert row["sigma"] == pytest.approx(np.std([t.ret for t in own]))
        for name, signal in (("energy", "ref_energy"), ("entropy", "ref_entropy"), ("policy_entropy", "entropy")):
            for part, kinds in (("all", (3, 4, 5)), ("reasoning", (3,)), ("action", (4,))):
                tokens = np.concatenate([t.signals[signal][np.isin(t.kinds, kinds)] for t in own])
                assert row[f"{name}_{part}"] == pytest.approx(tokens.astype(float).mean())


def test_rho_p_and_partial_again_with_scipy(found):
    sigma, p = (np.array([g[name] for g in found["groups"]]) for name in ("sigma", "success"))
    for row in found["correlations"]:
        x = np.array([g[f"{row['signal']}_{row['part']}"] for g in found["groups"]])
        expected = stats.spearmanr(x, sigma)
        assert row["rho"] == pytest.approx(expected.statistic) and row["p"] == pytest.approx(expected.pvalue)
        assert row["low"] <= row["rho"] <= row["high"] and row["n"] == 20 and row["why"] == ""
        xy, xz, yz = (stats.spearmanr(a, b).statistic for a, b in ((x, sigma), (x, p), (sigma, p)))
        assert row["rho_success"] == pytest.approx(xz)
        assert row["partial"] == pytest.approx((xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2)))
    assert found["confound"]["rho_success"] == pytest.approx(stats.spearmanr(sigma, p).statistic)
    assert found["missing"] == []
    json.dumps(found, allow_nan=False)


def spread_of(energies, returns, rng):
    """One group a row of ``returns``, whose action energies lie about ``energies``."""
    ts = trajectories(1, groups=len(returns), rollouts=returns.shape[1], turns=2)
    for n, t in enumerate(ts):
        g, r = divmod(n, returns.shape[1])
        t.reward, t.penalty, t.success = float(returns[g, r]), 0.0, bool(returns[g, r] > 0.5)
        action = t.kinds == 4
        t.signals["ref_energy"][action] = energies[g] + 0.01 * rng.normal(size=action.sum())
    return Batch.of(ts)


def test_energy_that_follows_the_spread_is_found_in_the_action_tokens_alone():
    rng = np.random.default_rng(0)
    width = rng.random(40)
    returns = 0.5 + width[:, None] * rng.choice([-0.4, 0.4], (40, 8))
    sigma = returns.std(axis=1)
    found = action_bottleneck(spread_of(sigma, returns, rng), bootstrap=200)
    action, reasoning = (found_row(found, "energy", part) for part in ("action", "reasoning"))
    assert action["rho"] > 0.95 and action["p"] < 1e-10 and action["low"] > 0.8
    assert abs(reasoning["rho"]) < 0.35 and action["partial"] > 0.9 and not found["confound"]["binary"]


def test_with_two_returns_the_spread_is_the_success_rate_and_it_is_said():
    rng = np.random.default_rng(1)
    # More success than not in every group, so sigma falls with the rate; energy follows the rate alone.
    successes = rng.integers(4, 9, 40)
    returns = (np.arange(8) < successes[:, None]).astype(float)
    found = action_bottleneck(spread_of(-successes / 8, returns, rng), bootstrap=100)
    row = found_row(found, "energy", "action")
    assert found["confound"]["binary"] and found["confound"]["rho_spread"] == pytest.approx(1)
    assert row["rho"] > 0.9 and row["partial_spread"] is None
    # Given the rate nothing is left of sigma, which falls with it strictly.
    assert row["partial"] is None or abs(row["partial"]) < 0.35


def test_under_eight_groups_no_rho_is_given(ts):
    few = [t for t in ts if int(t.group.split()[1]) < MIN_GROUPS - 1]
    row = found_row(action_bottleneck(Batch.of(few)), "energy", "action")
    assert row["rho"] is None and row["why"] == "7 groups are fewer than 8"


def test_no_spread_and_no_signal_are_said():
    ts = trajectories(3, groups=10)
    for t in ts:
        t.reward, t.penalty = 0.1 * 3, 0.0
        del t.signals["ref_energy"]
    found = action_bottleneck(Batch.of(ts), bootstrap=20)
    assert found["missing"] == ["energy"] and all(g["sigma"] == 0 for g in found["groups"])
    assert "the same in every group" in found_row(found, "entropy", "action")["why"]


# --- schemes side by side ---------------------------------------------------------------------


def test_comparison_again_by_hand(ts):
    batch = Batch.of(ts)
    credits = {name: get_scheme(name).compute(batch) for name in SCHEMES}
    table = compare(batch, credits)
    uniform = credits["uniform"].effective()[batch.response]
    for row in table["schemes"]:
        own = credits[row["scheme"]].effective()[batch.response]
        both = (own != 0) & (uniform != 0)
        assert row["sign_flips"] == pytest.approx((np.sign(own) != np.sign(uniform))[both].mean())
        assert row["credit"]["effective_tokens"] == pytest.approx(np.abs(own).sum() ** 2 / (own**2).sum(), rel=1e-5)
        assert (
            row["kinds"]
            == gradient_mass(batch.kinds, credits[row["scheme"]].keep * credits[row["scheme"]].weight)["kinds"]
        )
    for a in ("actfocus", "gtpo", "oracle"):
        expected = stats.spearmanr(credits[a].effective()[batch.response], uniform).statistic
        assert table["spearman"][a]["uniform"] == pytest.approx(expected)
        assert table["spearman"]["uniform"][a] == pytest.approx(expected) and table["spearman"][a][a] == pytest.approx(
            1
        )


def test_weights_that_are_not_negative_flip_no_sign(ts):
    batch = Batch.of(ts)
    table = compare(
        batch, {name: get_scheme(name).compute(batch) for name in ("uniform", "actfocus", "rest", "top_entropy", "aem")}
    )
    assert all(row["sign_flips"] == 0 for row in table["schemes"])


def test_what_is_missing_has_no_numbers_and_no_spread_no_correlation():
    ts = trajectories(3, groups=3)
    for t in ts:
        t.reward, t.penalty = 1.0, 0.0
        del t.signals["value"]
    batch = Batch.of(ts)
    table = compare(batch, {name: get_scheme(name).compute(batch) for name in ("uniform", "ppo_gae")})
    assert table["schemes"][1]["missing"] == ["value"] and "kinds" not in table["schemes"][1]
    assert np.isnan(table["spearman"]["uniform"]["uniform"]) and np.isnan(table["schemes"][0]["sign_flips"])


def test_the_line_and_its_band_again_with_numpy():
    rng = np.random.default_rng(5)
    x = rng.normal(-13, 0.4, 30)
    y = 0.3 * x + rng.normal(0, 0.2, 30)
    band = trend_band(x, y, bootstrap=2000)
    assert (band["x"][0], band["x"][-1], len(band["x"])) == (x.min(), x.max(), 25)
    slope, offset = np.polyfit(x, y, 1)
    np.testing.assert_allclose(band["y"], slope * np.array(band["x"]) + offset)
    lines = []
    for _ in range(2000):
        drawn = rng.integers(0, 30, 30)
        slope, offset = np.polyfit(x[drawn], y[drawn], 1)
        lines.append(slope * np.array(band["x"]) + offset)
    expected = np.quantile(lines, [0.025, 0.975], axis=0)
    np.testing.assert_allclose([band["low"], band["high"]], expected, atol=0.03)
    assert trend_band(x[: MIN_GROUPS - 1], y[: MIN_GROUPS - 1]) is None and trend_band(np.full(30, -13.0), y) is None
    json.dumps(band, allow_nan=False)


def test_nothing_is_correlated_with_what_does_not_vary_in_a_resample():
    """Spread is 0 in all groups drawn: what is left of it after the regression is rounding."""
    p = np.array([0.75, 0, 1, 0.75, 1, 1, 0.75, 1])
    x = np.array([0.3, -1.2, 0.8, 0.1, 2.0, -0.4, 0.9, -2.2])
    counts = np.array([[0.0, 4, 1, 0, 2, 1, 0, 0], np.ones(8)])
    got = partial_spearman(x, p * (1 - p), [p], counts)
    assert np.isnan(got[0]) and np.isfinite(got[1])
