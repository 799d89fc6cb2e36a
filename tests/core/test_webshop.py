"""WebShop: actions, pages, states and rewards."""

import json
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actfocus_core.envs import make_env
from actfocus_core.envs.webshop import TINY
from actfocus_core.envs.webshop.pages import Location
from actfocus_core.errors import ActFocusError
from tests.core.webshop import facts, picks, play, presets


def test_the_papers_settings_are_the_preset():
    options = make_env("webshop").options
    assert (options.max_turns, options.max_actions, options.actions_per_turn) == (9, 9, 1)
    assert options.format_penalty == -0.1 and options.results_per_page == 10


@pytest.mark.parametrize(
    "options, named",
    [
        ({"results_per_page": 0}, "results_per_page"),
        ({"actions_per_turn": 2}, "actions_per_turn"),
        ({"departments": ("toys",)}, "departments"),
        ({"wheels": 4}, "wheels"),
        ({"instructions": "items_ins.json"}, "catalogue"),
    ],
)
def test_options_are_checked(options, named):
    with pytest.raises(ActFocusError, match=named):
        make_env("webshop", **options)


@presets
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), choices=picks)
def test_any_strings_replay_and_the_state_moves_only_by_legal_actions(options, seed, choices):
    env, again, restored = (make_env("webshop", **options) for _ in range(3))
    env.reset(seed)
    texts = []
    for choice in choices:
        before, legal, spent = env.location, env.legal_actions(), env.turn
        text, step = play(env, choice)
        texts.append(text)
        done = step.info["actions"]
        assert len(done) <= 1 and step.info["penalty"] == (0.0 if done or spent == env.turn else -0.1)
        if not done:
            assert env.location == before
        elif not done[0].startswith("search["):
            assert done[0] in legal
        else:
            assert before.kind == "search"
        assert step.info["bought"] == step.terminated and 0 <= step.info["score"] <= 1
        assert step.info["success"] == (step.info["score"] == 1)
    again.reset(seed)
    for text in texts:
        again.step([text])
    restored.restore(json.loads(json.dumps(env.state())))
    assert facts(again) == facts(env) == facts(restored) == facts(env.clone())


@presets
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), choices=picks, more=picks)
def test_clone_and_restore_commute_with_step(options, seed, choices, more):
    env, restored = make_env("webshop", **options), make_env("webshop", **options)
    env.reset(seed)
    for choice in choices:
        play(env, choice)
    copy = env.clone()
    restored.restore(env.state())
    kept = facts(env)
    for choice in more:
        assert play(copy, choice) == play(restored, choice)
        assert facts(copy) == facts(restored)
    assert facts(env) == kept, "a clone is independent"
    assert copy.shop is env.shop, "the catalogue is shared"


@presets
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), choices=picks)
def test_legal_actions_are_understood_in_any_case_and_spacing(options, seed, choices):
    env = make_env("webshop", **options)
    env.reset(seed)
    for choice in choices:
        play(env, choice)
    legal = env.legal_actions()
    assert len(set(legal)) == len(legal)
    for action in legal:
        verb, _, label = action[:-1].partition("[")
        assert env.parse(action) == env.parse(f"  {verb.upper()} [ {label.upper()} ] ") == action


def test_searching_needs_a_search_box_and_words():
    env = make_env("webshop")
    assert env.parse("search[red shirt]") == "search[red shirt]"
    assert env.parse("search[ \n]") is None and env.parse("search red shirt") is None
    assert env.parse("click[search]") is None
    env.step(["search[Red  SHIRT]"])
    assert env.location == Location("results", "red shirt")
    assert env.parse("search[blue hat]") is None, "one goes back to search first"
    assert env.step(["search[blue hat]"]).info["penalty"] == -0.1


def test_a_search_that_finds_nothing_leads_back():
    env = make_env("webshop")
    step = env.step(["search[zzz !!! …]"])
    assert step.info["valid"] and env.legal_actions() == ["click[back to search]"]


def test_options_are_kept_on_the_way_to_the_description_and_lost_in_the_results():
    env = make_env("webshop", departments=("fashion",))
    env.step(["search[shirt]"])
    env.step([env.page().group("product")[0].action])
    color = env.page().options()["color"][1]
    env.step([color.action])
    env.step(["click[features]"])
    env.step(["click[< prev]"])
    assert env.location.chosen == (("color", color.label),)
    assert [b.label for b in env.page().options()["color"] if b.chosen] == [color.label]
    env.step(["click[< prev]"])
    assert env.location == Location("results", "shirt")


def test_pages_turn_and_hold_every_result_once():
    env = make_env("webshop", results_per_page=7, max_turns=50, max_actions=50)
    env.step(["search[wool]"])
    seen = []
    while True:
        seen += [b.label for b in env.page().group("product")]
        if "click[next >]" not in env.legal_actions():
            break
        env.step(["click[next >]"])
    assert seen == [p.asin.lower() for p in env.shop.search("wool")]
    assert "click[< prev]" in env.legal_actions()


def test_the_episode_ends_with_its_turns_or_the_purchase():
    env = make_env("webshop")
    for _ in range(9):
        step = env.step(["nonsense"])
    assert step.truncated and not step.terminated and env.legal_actions() == []
    env.reset(0)
    env.step(["search[shirt]"])
    env.step([env.page().group("product")[0].action])
    step = env.step(["click[Buy Now]"])
    assert step.terminated and not step.truncated and step.info["bought"] and step.info["score"] < 1
    assert step.reward == 0 and not step.info["success"]
    assert env.step(["click[back to search]"]).info["actions"] == []


def test_reward_may_be_the_graded_score():
    rewards = {}
    for reward in ("strict", "score"):
        env = make_env("webshop", reward=reward)
        env.reset(3)
        env.step([env.legal_actions()[0]])
        env.step([env.page().group("product")[0].action])
        step = env.step(["click[buy now]"])
        rewards[reward] = step.reward, step.info["score"]
    assert rewards["score"][0] == rewards["score"][1] == rewards["strict"][1]
    assert rewards["strict"][0] == 0 < rewards["score"][0] < 1


@presets
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), choices=picks)
def test_the_drawing_is_one_well_formed_svg(options, seed, choices):
    env = make_env("webshop", **options)
    env.reset(seed)
    for choice in choices:
        play(env, choice)
    root = ET.fromstring(env.svg())
    assert root.tag.endswith("svg") and "<script" not in env.svg()


def test_markup_in_a_search_is_escaped():
    env = make_env("webshop")
    env.step(['search[<script>alert(1)</script> & "shirt"]'])
    assert "<script" not in env.svg()
    ET.fromstring(env.svg())


def test_goals_depend_on_the_seed_alone():
    env, other = make_env("webshop"), make_env("webshop")
    other.reset(1)
    assert env.reset(7, rollout=0) == other.reset(7, rollout=3)
    assert len({env.reset(seed) for seed in range(50)}) > 45


def test_the_compact_form_is_short():
    env = make_env("webshop", **TINY)
    for seed in range(20):
        lengths = [len(env.reset(seed).split())]
        for action in (env.legal_actions()[0], "click[1]"):
            lengths.append(len(env.step([action]).observation.split()))
        assert max(lengths) < 60
