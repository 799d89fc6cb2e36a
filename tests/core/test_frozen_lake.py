"""FrozenLake against gymnasium's, and the rules all environments share."""

import json
import xml.etree.ElementTree as ET
from collections import defaultdict

import gymnasium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actfocus_core.envs import make_env
from actfocus_core.envs.frozen_lake import ACTIONS, reachable
from actfocus_core.errors import ActFocusError

WORDS = st.one_of(
    st.sampled_from([*ACTIONS, "left", " UP ", "dOwN", "", "||", "jump", "Left Right"]), st.text(max_size=6)
)
TURNS = st.lists(st.lists(WORDS, max_size=4), max_size=8)


def _gymnasium(lake, **options):
    """gymnasium's lake with the same map; its goal may be anywhere, its start is where P stands."""
    rows = [["F" if ice else "H" for ice in row] for row in lake.ice]
    rows[lake.start[0]][lake.start[1]], rows[lake.goal[0]][lake.goal[1]] = "S", "G"
    return gymnasium.make("FrozenLake-v1", desc=["".join(row) for row in rows], max_episode_steps=10**6, **options)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", [4, 6])
def test_the_same_maps_and_moves_give_the_same_outcomes(seed, size):
    lake = make_env(
        "frozen_lake", slippery=False, size=size, frozen=0.8, max_turns=100, max_actions=1000, actions_per_turn=1
    )
    lake.reset(seed)
    peer = _gymnasium(lake, is_slippery=False)
    peer.reset()
    for i in range(60):
        action = (seed * 7 + i * i + i // 3) % 4
        state, reward, terminated, _, _ = peer.step(action)
        ours = lake.step([ACTIONS[action]])
        assert divmod(int(state), size) == lake.player
        assert (float(reward), terminated) == (ours.reward, ours.terminated)
        if terminated:
            break


@pytest.mark.parametrize("rate", [0.8, 1 / 3])
def test_slips_have_gymnasiums_probabilities(rate):
    lake = make_env("frozen_lake", slippery=True, success_rate=rate)
    for seed in range(5):
        lake.reset(seed)
        table = _gymnasium(lake, is_slippery=True, success_rate=rate).unwrapped.P
        for cell in ((r, c) for r in range(4) for c in range(4) if lake.ice[r, c] and (r, c) != lake.goal):
            for i, action in enumerate(ACTIONS):
                mine, theirs = defaultdict(float), defaultdict(float)
                for p, there in lake.transitions(cell, action):
                    mine[there] += p
                for p, state, _, _ in table[cell[0] * 4 + cell[1]][i]:
                    theirs[divmod(int(state), 4)] += p
                assert mine.keys() == theirs.keys()
                assert all(mine[k] == pytest.approx(theirs[k]) for k in mine)


def test_the_dice_slip_as_often_as_they_should_and_not_in_lock_step():
    lake, slipped = make_env("frozen_lake", size=16, frozen=1.0, actions_per_turn=1), []
    for rollout in range(3000):
        lake.reset(3, rollout)
        (r, c), _ = lake.player, lake.step(["Down"])
        slipped.append(lake.player != (min(r + 1, 15), c) and not lake.terminated)
    assert 0.17 < sum(slipped) / 3000 < 0.23


def test_the_state_depends_on_the_seed_alone():
    one, two = make_env("frozen_lake"), make_env("frozen_lake")
    assert one.reset(5, rollout=0) == two.reset(5, rollout=9)
    assert len({make_env("frozen_lake").reset(seed) for seed in range(50)}) > 40
    one.reset(12345)
    assert one.state_key() == "__P_/____/__G_/____"  # the same on every machine and in every process


def test_every_goal_can_be_reached():
    lake = make_env("frozen_lake", frozen=0.6)
    for seed in range(300):
        lake.reset(seed)
        assert lake.goal in reachable(lake.ice, lake.start) and lake.start != lake.goal


@settings(max_examples=150, deadline=None)
@given(TURNS, st.integers(0, 50), st.booleans())
def test_no_strings_raise_and_clone_and_restore_commute_with_step(turns, seed, slippery):
    lake = make_env("frozen_lake", slippery=slippery)
    lake.reset(seed, rollout=1)
    for actions in turns:
        before = lake.state()
        stored = json.loads(json.dumps(before))
        copy, other = lake.clone(), make_env("frozen_lake", slippery=slippery)
        other.restore(stored)
        result = lake.step(actions)
        assert copy.state() == before  # a step of one leaves the copy alone
        assert copy.step(actions) == result == other.step(actions)
        assert copy.state() == lake.state() == other.state() and copy.state_key() == lake.state_key()
        assert all(action in ACTIONS for action in result.info["actions"])
        assert len(result.info["actions"]) <= min(2, before["actions_left"])
    assert lake.turn <= 5 and 0 <= lake.actions_left <= 10


def test_penalties_budgets_and_the_end():
    lake = make_env("frozen_lake", slippery=False, size=16, frozen=1.0)
    lake.reset(1)
    assert lake.step([]).info == {"actions": [], "valid": False, "penalty": -0.1, "success": False}
    mixed = lake.step(["nowhere", "left"])
    assert (mixed.info["actions"], mixed.info["valid"], mixed.info["penalty"]) == (["Left"], False, -0.1)
    three = lake.step(["Up", "Up", "Up"])
    assert three.info["actions"] == ["Up", "Up"] and three.info["valid"]
    lake.step(["Up"])
    last = lake.step(["Up"])
    assert last.truncated and not last.terminated and not last.info["success"]
    after = lake.step(["Up"])
    assert after.reward == 0 and after.info["actions"] == [] and after.truncated


def test_success_pays_one_and_ends():
    lake = make_env("frozen_lake", slippery=False, frozen=1.0)
    lake.reset(2)
    (r, c), (gr, gc) = lake.player, lake.goal
    way = ["Down" if gr > r else "Up"] * abs(gr - r) + ["Right" if gc > c else "Left"] * abs(gc - c)
    result = None
    for i in range(0, len(way), 2):
        result = lake.step(way[i : i + 2])
    assert (result.reward, result.terminated, result.info["success"]) == (1.0, True, True)


def test_the_observation_says_what_the_rules_demand():
    lake = make_env("frozen_lake")
    text = lake.reset(4)
    for part in ("Turn 1 of 5", "10 actions left", "<think>", "<answer>", "||", "400 tokens", "\n".join(lake.grid())):
        assert part in text
    assert all(a in lake.system_prompt() for a in ACTIONS) and "slippery" in lake.system_prompt()
    assert "slippery" not in make_env("frozen_lake", slippery=False).system_prompt()


@pytest.mark.parametrize("seed", range(5))
def test_the_drawing_is_well_formed_and_holds_shapes_alone(seed):
    lake = make_env("frozen_lake")
    lake.reset(seed)
    root = ET.fromstring(lake.svg())
    names = {element.tag.split("}")[1] for element in root.iter()}
    assert names <= {"svg", "rect", "ellipse", "path", "g", "circle"}
    holes = sum(e.tag.endswith("ellipse") for e in root.iter())
    assert holes == len(lake.holes())


@pytest.mark.parametrize(
    "bad",
    [
        {"size": 1},
        {"frozen": 0},
        {"success_rate": 1.5},
        {"max_turns": 0},
        {"colour": "red"},
        {"format_penalty": 1},
        {"observation": "loud"},
    ],
)
def test_options_out_of_range_are_refused_by_name(bad):
    with pytest.raises(ActFocusError, match=next(iter(bad))):
        make_env("frozen_lake", **bad)


def test_an_unknown_environment_is_refused():
    with pytest.raises(ActFocusError, match="unknown environment 'chess'; there are frozen_lake"):
        make_env("chess")
