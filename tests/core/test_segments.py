"""What a segment of a rollout may hold, which of its tokens enter the loss, and how statistics count rollouts."""

import math

import numpy as np
import pytest

from actfocus_core.analysis.diagnostics import action_bottleneck, gradient_mass
from actfocus_core.analysis.scoreboard import Truth, scoreboard
from actfocus_core.credit import SCHEMES, Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.outcomes import mean_known, rollouts_of, success_rate
from actfocus_core.train.groups import filter_groups
from actfocus_core.trajectory import TokenKind, Trajectory
from tests.core.batches import trajectories
from tests.core.segments import NAN, SAMPLED, full


def test_what_nobody_stated_is_unknown():
    t = Trajectory("a", [1], [4], [0], [NAN], ["x"])
    assert (t.segment, t.parent, t.agent, t.trainable, t.error, t.stop_reason) == (0, None, "", True, "", "")
    assert t.success is None and t.in_loss is None and t.policy_version is None and t.recorded == t.rewards == {}
    assert t.loss_mask.tolist() == t.response_mask.tolist() == [True]


def test_arrays_and_pairs_get_their_types():
    t = full()
    assert t.in_loss.dtype == bool and t.policy_version.dtype == np.int32 and t.recorded["entropy"].dtype == np.float32
    assert t.parent.segment == 0 and t.parent.token == 4 and t.rewards["short"].weight == 0.5


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"recorded": {"ratio": [0.0] * 8}}, "unknown stream 'ratio' in recorded; allowed: trainer_logprob, advantage"),
        ({"recorded": {"value": [0.0]}}, "value has 1 values for 8 tokens"),
        ({"in_loss": [True]}, "in_loss has 1 values for 8 tokens"),
        ({"policy_version": [1]}, "policy_version has 1 values for 8 tokens"),
        ({"policy_version": [-2] * 8}, "policy_version holds -2"),
        ({"segment": -1, "parent": None}, "segment is -1"),
        ({"segment": 0}, "parent is .0, 4."),
        ({"parent": (2, 0)}, "a segment below 2"),
        ({"parent": (0, 9)}, "common prefix, at most 8"),
        ({"rewards": {"right": (2.0, 1.0)}}, "rewards add up to 2 and reward is 1"),
    ],
)
def test_what_contradicts_itself_is_refused(changes, says):
    with pytest.raises(ActFocusError, match=says):
        full(**changes)


def test_a_total_is_not_asked_of_components_that_are_unknown():
    assert full(rewards={"right": (NAN, 1.0)}).reward == 1.0
    assert math.isnan(full(reward=NAN).reward)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"in_loss": None, "parent": None}, SAMPLED),
        ({"in_loss": None}, [k >= 4 and s for k, s in enumerate(SAMPLED)]),
        ({"parent": None}, [False, False, True, True, False, False, True, False]),
        ({}, [False] * 6 + [True, False]),
        ({"in_loss": [True] * 8, "parent": None}, SAMPLED),
        ({"trainable": False}, [False] * 8),
    ],
)
def test_what_enters_the_loss(changes, expected):
    t = full(**changes)
    assert t.loss_mask.tolist() == expected and t.response_mask.tolist() == SAMPLED


def _halved(t: Trajectory) -> list[Trajectory]:
    """The same rollout as two segments: the second repeats the first turn, and samples the rest."""
    cut = int(np.flatnonzero(t.turns == 1)[0])
    own = {name: values for name, values in vars(t).items() if name not in ("id", "rollout_id")}
    first = {
        name: values[:cut] if isinstance(values, np.ndarray) or name == "texts" else values
        for name, values in own.items()
    } | {"signals": {name: values[:cut] for name, values in t.signals.items()}}
    return [
        Trajectory(f"{t.id}.0", rollout_id=t.id, **first),
        Trajectory(f"{t.id}.1", rollout_id=t.id, **{**own, "segment": 1, "parent": (0, cut)}),
    ]


def _split() -> tuple[list[Trajectory], list[Trajectory]]:
    """A batch, and the same rollouts with all of two turns or more in two segments."""
    whole = trajectories(seed=4, groups=9, rollouts=4, turns=3)
    return whole, [s for t in whole for s in (_halved(t) if (t.turns >= 1).any() else [t])]


def _judged(whole: list[Trajectory]) -> list[Trajectory]:
    """The batch with a judge in every group, which has another return and is not trained."""
    judges = [
        Trajectory(
            **{**vars(t), "id": f"{t.id}-judge", "rollout_id": t.rollout_key, "agent": "judge", "trainable": False}
        )
        for t in whole[::4]
    ]
    for judge in judges:
        judge.reward, judge.success = 50.0, None
    return [*whole, *judges]


def test_each_sampled_token_is_in_the_batch_once_however_the_rollout_is_divided():
    whole, split = map(Batch.of, _split())
    assert len(split.ids) > len(whole.ids) and whole.response.sum() == split.response.sum()
    assert gradient_mass(whole.kinds, whole.response)["kinds"] == gradient_mass(split.kinds, split.response)["kinds"]


@pytest.mark.parametrize("name", ["uniform", "dr_grpo", "actfocus", "gtpo", "top_entropy", "a2tgpo", "rest"])
def test_segments_of_a_rollout_get_the_credit_of_the_rollout(name):
    whole, split = map(Batch.of, _split())
    scheme = get_scheme(name)
    params = {"form": "schedule"} if name == "rest" else {}
    a, b = scheme.compute(whole, **params), scheme.compute(split, **params)
    assert not a.missing and not b.missing
    if name == "rest":  # weights have mean 1 a segment
        np.testing.assert_allclose(a.advantage[whole.response], b.advantage[split.response])
        return
    if name == "a2tgpo":  # gains add up over the turns of a segment
        np.testing.assert_array_equal(whole.response_index[whole.response], split.response_index[split.response])
        return
    np.testing.assert_allclose(a.effective()[whole.response], b.effective()[split.response], rtol=1e-5, atol=1e-9)


def test_segments_change_no_statistic_of_a_group():
    whole, split = map(Batch.of, _split())
    rows, again = (action_bottleneck(batch, bootstrap=10)["groups"] for batch in (whole, split))
    for a, b in zip(rows, again, strict=True):
        assert a.keys() == b.keys() and all(a[name] == pytest.approx(b[name], nan_ok=True) for name in a)
    assert whole.counted.sum() == split.counted.sum() == 36


def test_a_resample_draws_whole_rollouts():
    """Segments of one rollout are drawn together, so the table is that of the undivided batch. (Luck compares a turn with the
    next one of its segment.)"""
    whole, split = map(Batch.of, _split())
    tables = [
        scoreboard(batch, {"carl": get_scheme("carl").compute(batch)}, Truth.of(batch), bootstrap=50)
        for batch in (whole, split)
    ]
    assert tables[0].skipped == tables[1].skipped
    scores = [{name: s for name, s in table.ceiling.scores.items() if name != "luck"} for table in tables]
    assert scores[0] == scores[1] and scores[0]["where_advantage"].low is not None


def test_an_agent_that_is_not_trained_changes_nothing():
    whole = trajectories(seed=4, groups=9, rollouts=4, turns=3)
    batch, judged = Batch.of(whole), Batch.of(_judged(whole))
    assert not judged.response[len(batch.kinds) :].any() and not judged.counted[len(whole) :].any()
    assert set(judged.groups[len(whole) :]).isdisjoint(batch.groups)
    for name in SCHEMES:
        a, b = get_scheme(name).compute(batch), get_scheme(name).compute(judged)
        assert a.missing == b.missing
        if not a.missing:
            np.testing.assert_allclose(a.effective(), b.effective()[: len(batch.kinds)], rtol=1e-6, err_msg=name)
            assert not b.effective()[len(batch.kinds) :].any()
    assert action_bottleneck(batch, bootstrap=10) == action_bottleneck(judged, bootstrap=10)
    assert filter_groups(_judged(whole), 0.5) == filter_groups(whole, 0.5)
    assert success_rate(_judged(whole)) == success_rate(whole)


def test_a_token_out_of_the_loss_takes_part_in_no_scheme():
    whole = trajectories(seed=4)
    for t in whole:
        t.in_loss = np.arange(len(t)) % 3 > 0
    batch = Batch.of(whole)
    out = np.concatenate([t.response_mask & ~t.loss_mask for t in whole])
    assert out.any() and (batch.kinds[out] == TokenKind.TEMPLATE).all()
    assert (np.concatenate([t.kinds for t in whole])[out] != TokenKind.TEMPLATE).all()
    for name in ("uniform", "actfocus", "top_entropy", "gigpo"):
        credit = get_scheme(name).compute(batch)
        assert not credit.effective()[out].any() and credit.effective()[batch.response].any()


def test_unknown_success_and_reward_are_no_failures():
    whole = trajectories(seed=4, groups=9, rollouts=4)
    for t in whole[:4]:
        t.success = None
    whole[4].success, whole[4].reward = None, NAN
    found = action_bottleneck(Batch.of(whole), bootstrap=10)
    first, second = found["groups"][:2]
    assert first["success"] is None and first["unknown_success"] == 4 and first["unknown_returns"] == 0
    known = whole[5:8]
    assert second["success"] == np.mean([t.success for t in known]) and second["unknown_success"] == 1
    assert second["mean_return"] == pytest.approx(np.mean([t.ret for t in known])) and second["unknown_returns"] == 1
    assert all(r["partial"] is None and r["rho"] is not None for r in found["correlations"] if not r["why"])
    rate = success_rate(whole)
    assert (rate.known, rate.unknown) == (31, 5) and str(rate).endswith("(5 unknown)")
    assert str(mean_known([None, NAN])) == "unknown" and mean_known([None]).value is None
    assert len(rollouts_of(whole)) == 36


def test_a_scheme_that_reads_success_asks_for_it():
    whole = trajectories(seed=4)
    whole[0].success = None
    credit = get_scheme("gtpo").compute(Batch.of(whole))
    assert credit.missing == ("success",) and np.isnan(credit.weight[Batch.of(whole).response]).all()
