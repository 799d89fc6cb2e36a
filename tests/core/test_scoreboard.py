"""The scoreboard on batches whose truth is known."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from actfocus_core.analysis.scoreboard import COLUMNS, Truth, credits_of, scoreboard
from actfocus_core.credit import SCHEMES, Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.trajectory import TokenKind

from .batches import trajectories


def by_turn(ts, values, name):
    """Put one value a turn [K] on the trajectories as a signal."""
    values = iter(values)
    for t in ts:
        t.signals[name] = np.full(len(t), np.nan, np.float32)
        for k in range(len(t.turn_records)):
            t.signals[name][(t.turns == k) & t.response_mask] = next(values)


@pytest.fixture
def batch():
    ts = trajectories(0, groups=6, rollouts=6, turns=6)
    rng = np.random.default_rng(0)
    turns = sum(len(t.turn_records) for t in ts)
    for name, values in (("q", rng.normal(size=turns)), ("v", np.zeros(turns))):
        by_turn(ts, values, f"policy_{name}")
        by_turn(ts, values, f"policy_{name}_replica")
    return Batch.of(ts)


def scores(board, name):
    return next(row for row in board.rows if row.name == name).scores


def test_the_truth_as_a_scheme_scores_one(batch):
    board = scoreboard(batch, credits_of(batch, ["oracle"], controls=False), Truth.of(batch), bootstrap=50)
    found = scores(board, "oracle")
    for column in ("where_advantage", "where_advantage_auroc", "right_group", "right_within", "right_sign"):
        assert found[column].value == pytest.approx(1)
        assert found[column].low == pytest.approx(1) and found[column].high == pytest.approx(1)


def test_the_negated_truth_scores_the_opposite(batch):
    truth = Truth.of(batch)
    flipped = Truth(-truth.advantage)
    found = scores(scoreboard(batch, credits_of(batch, ["oracle"], controls=False), flipped, bootstrap=10), "oracle")
    assert found["right_group"].value == pytest.approx(-1) and found["right_within"].value == pytest.approx(-1)
    assert found["right_sign"].value == 0 and found["where_advantage"].value == pytest.approx(1)


def test_uniform_has_no_ranking_where_it_has_none(batch):
    found = scores(scoreboard(batch, {"uniform": get_scheme("uniform").compute(batch)}, Truth.of(batch)), "uniform")
    for column in ("where_advantage", "where_advantage_auroc", "right_within"):
        assert found[column].value is None and found[column].why == "no ranking"
    # Between the trajectories of a group its credit does differ.
    assert found["right_group"].value is not None and abs(found["right_group"].value) < 0.5


def test_scores_again_by_hand(batch):
    truth, credit = Truth.of(batch), get_scheme("actfocus").compute(batch)
    board = scoreboard(batch, {"actfocus": credit}, truth, bootstrap=5, threshold=0.4)
    found = scores(board, "actfocus")
    action, effective = batch.kinds == TokenKind.ACTION, credit.effective()
    rows = [k for k in range(len(batch.turn_owner)) if (action & (batch.turn_of == k)).any()]
    weight = np.array([credit.weight[action & (batch.turn_of == k)].mean() for k in rows])
    signed = np.array([effective[action & (batch.turn_of == k)].mean() for k in rows])
    a, owner = truth.advantage[rows], batch.turn_owner[rows]
    assert found["where_advantage"].value == pytest.approx(stats.spearmanr(weight, np.abs(a)).statistic, abs=1e-6)
    critical = truth.criticality[rows]
    for column, values in (("where_advantage_tau", np.abs(a)), ("where_criticality_tau", critical)):
        assert found[column].value == pytest.approx(stats.kendalltau(weight, values).statistic, abs=1e-6)
    top = critical >= np.quantile(critical, 0.9)
    pairs = [(x > y) + 0.5 * (x == y) for x in weight[top] for y in weight[~top]]
    assert found["where_criticality_auroc"].value == pytest.approx(np.mean(pairs), abs=1e-6)
    assert board.skipped == sum(len(set(a[owner == i])) < 3 for i in range(len(batch.returns))) > 0
    for column, unit in (("right_within", owner), ("right_group", batch.group_of[owner])):
        rhos = [
            stats.spearmanr(signed[unit == u], a[unit == u]).statistic
            for u in set(unit)
            if len(set(a[unit == u])) >= 3 and np.ptp(signed[unit == u]) > 0
        ]
        assert found[column].value == pytest.approx(np.mean(rhos), abs=1e-6) and found[column].n == len(rhos)
    asked = np.abs(a) > 0.4
    assert 0 < asked.sum() < len(a)
    assert found["right_sign"].value == pytest.approx((np.sign(signed) == np.sign(a))[asked].mean())
    v = batch.turn_signal("policy_v")
    luck = batch.turn_rewards + batch.following(v) - batch.turn_signal("policy_q")
    mass = np.array([np.abs(effective[batch.turn_of == k]).sum() for k in rows])
    share = np.abs(luck[rows]) / (np.abs(luck[rows]) + np.abs(a))
    assert found["luck"].value == pytest.approx((mass * share).sum() / mass.sum())


def test_noise_lowers_the_ceiling_and_raises_the_floor(batch):
    rng = np.random.default_rng(3)
    truth = Truth.of(batch).advantage
    floors, ceilings = [], []
    for noise in (0.0, 0.3, 1.0, 3.0):
        once, twice = (truth + noise * rng.normal(size=truth.shape) for _ in range(2))
        board = scoreboard(batch, {}, Truth(once, replica=twice), bootstrap=5)
        floors.append(board.noise_floor)
        ceilings.append(board.ceiling.scores["right_group"].value)
    assert np.diff(floors).min() > 0 and np.diff(ceilings).max() < 0 and ceilings[0] == pytest.approx(1)


def test_an_estimate_is_judged_by_the_second_one():
    """What a scheme reads is no judge of it: two estimates that share nothing make the oracle score nothing."""
    batch = Batch.of(trajectories(0, groups=30, rollouts=8, turns=6))
    truth = Truth.of(batch)
    assert not truth.exact and truth.noise_floor > 0
    first, second = (
        batch.turn_signal(f"policy_q{end}") - batch.turn_signal(f"policy_v{end}") for end in ("", "_replica")
    )
    np.testing.assert_array_equal(truth.advantage, second)
    np.testing.assert_array_equal(truth.replica, first)
    luck = (
        batch.turn_rewards
        + batch.following(batch.turn_signal("policy_v_replica"))
        - batch.turn_signal("policy_q_replica")
    )
    np.testing.assert_array_equal(truth.luck, luck)
    board = scoreboard(batch, credits_of(batch, ["oracle"], controls=False), truth, bootstrap=20)
    assert abs(scores(board, "oracle")["right_group"].value) < 0.15
    assert scores(board, "oracle")["right_group"].value == pytest.approx(board.ceiling.scores["right_group"].value)


def test_no_replica_no_ceiling_and_exact_is_said(batch):
    assert Truth.of(batch).exact and Truth.of(batch).noise_floor == 0
    assert scoreboard(batch, {}, Truth(Truth.of(batch).advantage), bootstrap=2).ceiling is None
    optimal = Truth.of(batch, "oracle")
    assert optimal.exact and optimal.noise_floor == 0
    assert scoreboard(batch, {}, optimal, bootstrap=2).ceiling.scores["right_group"].value == pytest.approx(1)


def test_turns_without_an_action_are_left_out_and_counted():
    ts = trajectories(1, groups=2, rollouts=3)
    victim = max(ts, key=lambda t: len(t.turn_records))
    victim.kinds[(victim.turns == 0) & (victim.kinds == TokenKind.ACTION)] = TokenKind.FORMAT
    batch = Batch.of(ts)
    board = scoreboard(batch, credits_of(batch, ["actfocus"], controls=False), Truth.of(batch), bootstrap=2)
    assert board.left_out == 1 and board.rows[0].scores["where_advantage"].n == board.turns - 1


def test_few_true_values_are_skipped(batch):
    truth = Truth(np.sign(Truth.of(batch).advantage))
    found = scores(scoreboard(batch, credits_of(batch, ["oracle"], controls=False), truth, bootstrap=2), "oracle")
    assert found["right_within"].value is None and "3 distinct" in found["right_within"].why
    flat = scoreboard(
        batch, credits_of(batch, ["oracle"], controls=False), Truth(np.zeros_like(truth.advantage)), bootstrap=2
    )
    assert flat.rows[0].scores["where_advantage"].why == "the truth does not vary"
    assert flat.rows[0].scores["right_sign"].value is None


def test_controls_stand_in_the_same_table_and_lie_at_chance():
    ts = trajectories(2, groups=30, rollouts=8, turns=6)
    for t in ts:
        t.signals |= {f"policy_{name}_replica": t.signals[f"policy_{name}"] for name in "qv"}
    batch = Batch.of(ts)
    board = scoreboard(batch, credits_of(batch, ["uniform", "oracle"]), Truth.of(batch), bootstrap=100)
    # Uniform is what every control of it is: listed once.
    assert [row.name for row in board.rows] == [
        "uniform",
        "oracle",
        "shuffle:oracle",
        "random:oracle",
        "reversed:oracle",
    ]
    for name in ("shuffle:oracle", "random:oracle"):
        score = scores(board, name)["right_within"]
        assert abs(score.value) < 0.15 and score.low < score.value < score.high
    assert scores(board, "reversed:oracle")["right_within"].value < -0.9


def test_everything_in_the_menu_can_be_scored_and_printed(batch):
    credits = credits_of(batch, list(SCHEMES), controls=False)
    board = scoreboard(batch, credits, Truth.of(batch), bootstrap=5)
    assert [r.name for r in board.rows] == list(SCHEMES)
    assert all(set(r.scores) == set(COLUMNS) for r in board.rows)
    json.dumps(board.to_dict(), allow_nan=False)


@given(seed=st.integers(0, 100))
@settings(max_examples=10)
def test_order_of_the_rollouts_does_not_matter(seed):
    ts = trajectories(seed, groups=3, rollouts=4)
    boards = []
    for order in (ts, ts[::-1]):
        batch = Batch.of(order)
        boards.append(scoreboard(batch, credits_of(batch, ["actfocus", "empg"]), Truth.of(batch), bootstrap=2))
    for a, b in zip(boards[0].rows, boards[1].rows):
        for column in COLUMNS:
            x, y = a.scores[column].value, b.scores[column].value
            assert (x is None) == (y is None) and (x is None or x == pytest.approx(y, abs=1e-5))


def test_bad_input_is_said(batch):
    with pytest.raises(ActFocusError, match="the numbers must be equal"):
        scoreboard(batch, {}, Truth(np.zeros(3)))
    ts = trajectories(0)
    for t in ts:
        del t.signals["policy_q"], t.signals["ref_energy"]
    bare = Batch.of(ts)
    with pytest.raises(ActFocusError, match="no policy_q .*actfocus oracle"):
        Truth.of(bare)
    board = scoreboard(bare, credits_of(bare, ["actfocus", "uniform"]), Truth.of(bare, "oracle"), bootstrap=2)
    assert board.unscored == {"actfocus": ("energy",)} and [r.name for r in board.rows] == ["uniform"]
