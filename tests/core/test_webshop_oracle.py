"""The oracle of WebShop against brute force."""

from dataclasses import replace
from functools import cache
from itertools import product as product_of

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actfocus_core.envs import make_env
from actfocus_core.envs.webshop.pages import Location
from actfocus_core.oracle.webshop import solve, turns_left
from tests.core.webshop import picks, play, presets, small_shop


def brute_force(env):
    """Every location and turn by plain recursion over the pages' buttons; and the locations met."""
    searches = [f"search[{query}]" for query in env.queries()]

    @cache
    def targets(at):
        shown = env.page(at)
        return [
            env.follow(at, action) for action in searches * shown.search + [button.action for button in shown.buttons]
        ]

    @cache
    def value(at, turns):
        if at.kind == "done" or not turns:
            return 0.0
        return max(env.payout(env.purchase(to)) if to.kind == "done" else value(to, turns - 1) for to in targets(at))

    met = frontier = {Location()}
    for _ in range(4):
        frontier = {to for at in frontier if at.kind != "done" for to in targets(at)} - met
        met = met | frontier
    return value, met


@pytest.mark.parametrize("reward", ["strict", pytest.param("score", marks=pytest.mark.slow)])
def test_the_solver_equals_brute_force(tmp_path, reward):
    env = small_shop(tmp_path, reward)
    values = set()
    for seed, tight in product_of(range(3), (False, True)):
        env.reset(seed)
        if tight:  # so that an option's own price decides
            cheapest = min(p.price for p in env.shop.products if p.query == env.goal.query and p.option_prices)
            env.goal = replace(env.goal, price_upper=cheapest)
        (value, met), solved = brute_force(env), solve(env)
        for at in met:
            for turns in range(7):
                assert abs(solved.value(at, turns) - value(at, turns)) < 1e-12, (seed, tight, at, turns)
                values.add(round(value(at, turns), 3))
    assert len(values) > (1 if reward == "strict" else 3)


@presets
def test_taking_the_best_action_reaches_the_optimal_value(options):
    env = make_env("webshop", **options)
    for seed in range(15):
        env.reset(seed)
        solved, promised, total = solve(env), solve(env).value(env.location, turns_left(env)), 0.0
        assert promised == 1, "every goal of the embedded catalogue can be met in nine turns"
        while not (env.terminated or env.truncated):
            left = turns_left(env)
            values = {a: solved.action_value(env.location, a, left) for a in env.legal_actions()}
            assert max(values.values()) == solved.value(env.location, left)
            total += env.step([max(values, key=values.get)]).reward
        assert total == promised


@presets
def test_the_best_actions_of_the_fewest_turns_reach_the_goal(options):
    """With no turn to spare, the best action of every turn still leads to the goal."""
    env = make_env("webshop", **options)
    for seed in range(15):
        env.reset(seed)
        solved, start, left = solve(env), env.location, turns_left(env)
        fewest = next(turns for turns in range(left + 1) if solved.value(start, turns) == 1)
        while not env.terminated:
            spare = fewest - env.turn
            env.step([max(env.legal_actions(), key=lambda a: solved.action_value(env.location, a, spare))])
        assert env.success and env.turn == fewest <= 6


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), choices=picks)
def test_no_action_is_worth_more_than_its_state_and_a_step_keeps_the_books(seed, choices):
    """Q* <= V* for all buttons, also after unlisted searches; a step leads to what Q* promised."""
    env = make_env("webshop", reward="score")
    env.reset(seed)
    for choice in choices:
        solved, at, left = solve(env), env.location, turns_left(env)
        values = [solved.action_value(at, action, left) for action in env.legal_actions()]
        if values:
            assert max(values) == pytest.approx(solved.value(at, left), abs=1e-12)
        _, step = play(env, choice)
        if step.info["actions"]:
            reached = step.reward + (0 if env.terminated else solved.value(env.location, left - 1))
            promised = solved.action_value(at, step.info["actions"][0], left)
            assert reached == pytest.approx(promised, abs=1e-12)
