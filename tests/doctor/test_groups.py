"""What is wrong with groups, rewards and advantages, and what only looks like it."""

import numpy as np
import pytest

from tests.doctor.dialogues import REPLY, group, rollout


def _each(groups, observations=None, **fields):
    """A rollout of each of these groups."""
    return [
        rollout(f"r{n}", (REPLY,), (observations[n] if observations else "Room A",), group=name, **fields)
        for n, name in enumerate(groups)
    ]


def _agents(*names):
    return [rollout(f"r{n}", (REPLY, f"<answer>{n}</answer>"), agent=name) for n, name in enumerate(names)]


def _turn_rewards(total):
    t = rollout()
    t.turn_records[-1].reward = total
    return [t]


def _by_turn(values):
    """Advantages that differ between the turns of a rollout."""
    found = group([1.0, 0.0])
    for t, value in zip(found, values):
        t.signals["advantage"] = np.where(t.response_mask, value * (t.turns + 1), np.nan).astype(np.float32)
    return found


CASES = {
    "zero-spread": (
        lambda: group([1.0, 1.0]),
        [lambda: group([1.0, 0.0]), lambda: group([1.0]), lambda: group([1.0, 1.0 + 1e-3])],
    ),
    "single-rollout": (
        lambda: group([1.0]),
        [
            lambda: group([1.0, 0.0]),
            # Two contexts are one rollout, and two of them a group.
            lambda: [
                *group([0.0]),
                rollout("b", rollout_id="b", reward=1.0),
                rollout("b.1", (REPLY,), rollout_id="b", segment=1),
            ],
            lambda: [rollout("j", trainable=False, group="judge"), *group([1.0, 0.0])],
        ],
    ),
    "reward-nan": (
        lambda: group([float("nan"), 1.0]),
        [
            lambda: group([0.0, 1.0]),
            lambda: group([-1.0, 0.0]),
            lambda: [rollout(reward=float("nan"), trainable=False)],
        ],
    ),
    "return-turns": (
        lambda: _turn_rewards(3.0),
        [lambda: _turn_rewards(1.0), lambda: _turn_rewards(1.0 + 1e-9), lambda: group([float("nan")])],
    ),
    "prompts-differ": (
        lambda: _each("aa", ("Room A", "Room B")),
        [
            lambda: _each("aa"),
            lambda: _each("ab", ("Room A", "Room B")),
            # The second turn's observation is no prompt.
            lambda: [rollout("x", observations=("A", "B")), rollout("y", observations=("A", "C"))],
        ],
    ),
    "group-per-rollout": (
        lambda: _each("abcd"),
        [
            lambda: _each("aabb", ("A", "A", "B", "B")),
            lambda: _each("abcd", ("A", "B", "C", "D")),
            # Two rollouts of one group show that groups are prompts.
            lambda: _each("aabc"),
        ],
    ),
    "several-agents": (
        lambda: _agents("solver", "critic"),
        [
            lambda: _agents("solver", "solver"),
            lambda: _agents("", ""),
            lambda: [*_agents("solver"), rollout("judge", agent="judge", trainable=False)],
        ],
    ),
    "advantage-contradicts": (
        lambda: group([1.0, 0.0, 1.0, 0.0], [-1.0, 1.0, -1.0, 1.0]),
        [
            lambda: group([1.0, 0.0, 1.0, 0.0], [1.0, -1.0, 1.0, -1.0]),
            # Divided by the deviation, or with another baseline, the order is kept.
            lambda: group([1.0, 0.0, 0.5], [1.2, 0.1, 0.7]),
            # Of equal returns, any order is right.
            lambda: group([1.0, 1.0, 0.0], [0.9, 0.2, -1.0]),
        ],
    ),
    "advantage-baseline": (
        lambda: group([1.0, 0.0, 0.5], [1.2, 0.1, 0.7]),
        [
            lambda: group([1.0, 0.0], [0.7, -0.7]),
            lambda: group([1.0, 0.0]),
            lambda: group([1.0, 1.0], [0.3, 0.3]),
        ],
    ),
}


@pytest.mark.parametrize("rule", CASES)
def test_it_is_found(rule, doctor):
    found = doctor(CASES[rule][0]())
    assert found[rule].count >= 1 and found[rule].examples


@pytest.mark.parametrize(("rule", "number"), [(rule, n) for rule in CASES for n in range(3)])
def test_what_looks_like_it_is_not(rule, number, doctor):
    assert rule not in doctor(CASES[rule][1][number]())


def test_advantages_that_are_all_equal_contradict_different_returns(doctor):
    found = doctor(group([1.0, 0.0], [0.0, 0.0]))
    assert found["advantage-contradicts"].examples == ["g"] and "1 of 1 pairs" in found["advantage-contradicts"].message


def test_advantages_that_differ_within_a_rollout_are_not_compared(doctor):
    assert not {"advantage-contradicts", "advantage-baseline"} & set(doctor(_by_turn((-1.0, 1.0))))


def test_keys_of_rollouts_are_told_with_their_numbers(doctor):
    finding = doctor(_each("abcd"))["group-per-rollout"]
    assert (finding.count, finding.of) == (4, 4) and "4 rollouts of 1 prompt are 4 groups" in finding.message
    assert sorted(finding.examples) == ["a", "b", "c", "d"]
