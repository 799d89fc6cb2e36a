"""Ground truth: every solver against brute force, the books of skill and luck, values of policies."""

import math
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actfocus_core.envs import ENVS, make_env
from actfocus_core.envs.sudoku import PEERS
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle import get_oracle, judge, optimal_values, policy_values, trajectory_values
from actfocus_core.oracle.policy import outcomes
from actfocus_core.rollout import collect

SMALL = {
    "frozen_lake": {"size": 3, "frozen": 0.7, "max_turns": 3, "max_actions": 5},
    "sokoban": {"size": 5, "max_turns": 3, "max_actions": 6},
    "sudoku": {"blanks": 3, "max_turns": 2, "max_actions": 4},
    "webshop": {"departments": ["fashion"]},
}


def brute_force(env):
    """V* by plain recursion over all lists of actions a turn and all falls of the dice."""
    best_of: dict = {}

    def value(env):
        if env.terminated or env.truncated:
            return 0.0
        key = env.state_key(), env.turn, env.actions_left
        if key not in best_of:
            best_of[key] = max(turn(env, answer) for answer in turns(env))
        return best_of[key]

    def turn(env, answer):
        return sum(p * (gain + value(after)) for p, after, gain in outcomes(env, answer))

    return value, turn


def turns(env):
    legal = every_action(env)
    return [
        a for n in range(1, min(env.options.actions_per_turn, env.actions_left) + 1) for a in product(legal, repeat=n)
    ]


def every_action(env):
    if env.name != "sudoku":
        return env.legal_actions()
    return [f"place {n} at ({i // 4 + 1},{i % 4 + 1})" for i in range(16) if not env.givens[i] for n in range(1, 5)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("frozen_lake", {"slippery": True}),
        ("frozen_lake", {"slippery": False}),
        ("frozen_lake", {"success_rate": 1 / 3}),
        ("frozen_lake", {"max_actions": 3}),
        ("sokoban", {}),
        ("sokoban", {"max_actions": 4}),
        ("sudoku", {}),
    ],
)
def test_the_solver_equals_brute_force(name, options):
    env = make_env(name, **{**SMALL[name], **options})
    met = set()
    for seed in range(4):
        env.reset(seed)
        value, turn = brute_force(env)
        rng = np.random.default_rng(seed)
        while not (env.terminated or env.truncated):
            oracle = get_oracle(env)
            assert oracle.value(env) == pytest.approx(value(env), abs=1e-12)
            met.add(round(value(env), 6))
            answers = turns(env)
            for i in rng.integers(len(answers), size=12):
                assert oracle.turn_value(env, answers[i]) == pytest.approx(turn(env, answers[i]), abs=1e-12)
                first = answers[i][:1]
                beginning = max(turn(env, a) for a in answers if a[:1] == first)
                assert oracle.prefix_value(env, first) == pytest.approx(beginning, abs=1e-12)
            env.step(list(answers[int(rng.integers(len(answers)))]))
    assert len(met) > 1


@pytest.mark.parametrize("name", sorted(ENVS))
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rollout=st.integers(0, 9),
    choices=st.lists(st.integers(0, 10**6), min_size=9, max_size=9),
)
def test_start_value_and_skill_and_luck_are_the_return(name, seed, rollout, choices):
    env = make_env(name, **({"departments": ["fashion"]} if name == "webshop" else {}))
    env.reset(seed, rollout)
    total = start = optimal_values(env).value
    earned = 0.0
    for choice in choices:
        if env.terminated or env.truncated:
            break
        legal = [*env.legal_actions(), "nonsense"]
        answers = [legal[choice % len(legal)], legal[choice // 101 % len(legal)]][: choice % 3]
        before = env.clone()
        turn = judge(env, answers)
        step = before.step(answers)
        earned += step.reward + step.info["penalty"]
        total += turn.skill + turn.luck
        assert turn.skill <= 1e-9 and all(cost >= 0 for cost in turn.costs)
        assert sum(turn.costs) <= -turn.skill + 1e-9, "the rest is the penalty and unused actions"
        if not (name == "frozen_lake" and env.options.slippery):
            assert turn.luck == pytest.approx(0, abs=1e-9)
    left = get_oracle(env).value(env)
    assert total == pytest.approx(earned + left, abs=1e-9)
    assert len(choices) < 9 or env.options.max_turns > 9 or left == 0.0
    assert math.isfinite(start)


@pytest.mark.parametrize("name", sorted(ENVS))
def test_the_best_actions_reach_the_value(name):
    """Within the confidence interval where there are dice, exactly where there are none."""
    env = make_env(name, **({"departments": ["fashion"]} if name == "webshop" else {}))
    gaps = []
    for seed in range(30 if name != "frozen_lake" else 400):
        env.reset(seed, rollout=seed)
        promised, gained = optimal_values(env).value, 0.0
        while not (env.terminated or env.truncated):
            gained += env.step(best_turn(env)).reward
        gaps.append(gained - promised)
    gaps = np.array(gaps)
    if name == "frozen_lake":
        assert abs(gaps.mean()) <= 2.58 * gaps.std(ddof=1) / math.sqrt(len(gaps)) and gaps.std() > 0
    else:
        assert np.abs(gaps).max() < 1e-9


def best_turn(env):
    """The best sequence of actions; ties are broken in favour of the shortest turn."""
    oracle, answer = get_oracle(env), []
    if env.name == "webshop":
        solved = oracle.shop_values
        left = min(env.options.max_turns - env.turn, env.actions_left)
        return [max(env.legal_actions(), key=lambda a: solved.action_value(env.location, a, left))]
    actions = every_action(env)
    for _ in range(min(env.options.actions_per_turn, env.actions_left)):
        if answer and oracle.turn_value(env, answer) >= oracle.value(env) - 1e-9:
            break
        answer.append(max(actions, key=lambda a: oracle.prefix_value(env, (*answer, a))))
    return answer


def test_sokoban_knows_dead_locks_and_the_point_of_no_return():
    env = make_env("sokoban")
    marked = 0
    for seed in range(120):
        env.reset(seed)
        rng = np.random.default_rng(seed)
        solvable = True
        while not (env.terminated or env.truncated):
            assert (optimal_values(env).facts["moves"] is not None) == solvable == can_be_solved(env)
            answers = [env.legal_actions()[i] for i in rng.integers(4, size=2)]
            turn = judge(env, answers)
            if turn.lost is not None:
                assert solvable
                marked += 1
                solvable = False
    assert marked > 10


def can_be_solved(env):
    """A search forwards over everything that can be reached by moving."""
    frontier, seen = {(env.player, env.boxes)}, set()
    trial = env.clone()
    while frontier:
        world = frontier.pop()
        seen.add(world)
        if set(world[1]) == set(env.targets):
            return True
        for action in ("Up", "Down", "Left", "Right"):
            trial.player, trial.boxes = world
            trial._apply(action)
            if (trial.player, trial.boxes) not in seen:
                frontier.add((trial.player, trial.boxes))
    return False


def test_sudoku_counts_completions_and_repairs():
    env = make_env("sudoku", blanks=9)
    repaired = 0
    for seed in range(25):
        env.reset(seed)
        rng = np.random.default_rng(seed)
        while not (env.terminated or env.truncated):
            facts = optimal_values(env).facts
            wrong = any(n and n != s for n, s in zip(env.grid, env.solution))
            assert facts["completions"] == count(env.grid) and (facts["completions"] == 0 or not wrong)
            empty = env.grid.count(0)
            errors = sum(n not in (0, s) for n, s in zip(env.grid, env.solution))
            if facts["placements"] is not None:
                assert facts["placements"] >= empty + errors
                assert wrong or facts["placements"] == empty
                repaired += wrong
            legal = env.legal_actions()
            judge(env, [legal[int(rng.integers(len(legal)))]] if legal else ["1,1,1"])
    assert repaired > 30, "a placed error can be put right"


@cache
def count(grid):
    if 0 not in grid:
        return 1
    i = grid.index(0)
    return sum(count((*grid[:i], n, *grid[i + 1 :])) for n in range(1, 5) if all(grid[p] != n for p in PEERS[i]))


def test_the_fewest_placements_by_a_search_forwards():
    """For boards of all kinds, those among them whose wrong numbers block one another for good."""
    env, rng, blocked = make_env("sudoku", blanks=8), np.random.default_rng(0), 0
    for seed in range(12):
        env.reset(seed)
        oracle = get_oracle(env)
        boards, lost = np.argwhere(oracle.legal), np.argwhere(oracle.legal & np.isinf(oracle.placements))
        drawn = [
            *boards[rng.integers(len(boards), size=3)],
            *(lost[rng.integers(len(lost), size=2)] if len(lost) else []),
        ]
        for at in map(tuple, drawn):
            grid = list(env.givens)
            for axis, cell in enumerate(oracle.blanks):
                grid[cell] = oracle.numbers[axis][at[axis]]
            fewest = fewest_placements(env, tuple(grid))
            assert oracle.placements[at] == fewest
            blocked += np.isinf(fewest)
    assert blocked, "some boards are lost for good"


def fewest_placements(env, grid):
    frontier, seen, moves = {grid}, set(), 0
    while frontier:
        if env.solution in frontier:
            return moves
        seen |= frontier
        ahead, moves = set(), moves + 1
        for board in frontier:
            for i in range(16):
                if not env.givens[i]:
                    taken = {board[p] for p in PEERS[i]} | {board[i]}
                    ahead |= {(*board[:i], n, *board[i + 1 :]) for n in range(1, 5) if n not in taken}
        frontier = ahead - seen
    return math.inf


# --- what the policy itself goes on to do -----------------------------------------------------


@pytest.mark.parametrize("name", ["frozen_lake", "sokoban"])
def test_the_exact_value_of_a_known_policy_is_what_it_earns(name):
    env = make_env(name, **SMALL[name])
    table = {
        "frozen_lake": {("Left", "Up"): 0.2, ("Down",): 0.5, ("Right", "Right"): 0.3},
        "sokoban": {("Up", "Left"): 0.4, ("Down", "Right"): 0.4, ("Right",): 0.2},
    }[name]
    env.reset(3)
    exact = policy_values(env, lambda _: table)
    assert exact.n == 0 and exact.value == exact.replica and exact.value <= optimal_values(env).value + 1e-9
    rng, returns = np.random.default_rng(0), []
    answers, chances = list(table), list(table.values())
    for rollout in range(3000):
        env.reset(3, rollout)
        gained = 0.0
        while not (env.terminated or env.truncated):
            step = env.step(list(answers[rng.choice(len(answers), p=chances)]))
            gained += step.reward + step.info["penalty"]
        returns.append(gained)
    assert abs(np.mean(returns) - exact.value) < 3.3 * np.std(returns) / math.sqrt(3000) + 1e-9
    env.reset(3)
    parts = [p * policy_values(env, lambda _: table, answer=a).value for a, p in table.items()]
    assert sum(parts) == pytest.approx(exact.value, abs=1e-12)


def test_the_value_of_the_model_comes_with_n_interval_and_noise(tiny):
    options = {**tiny.env_options["frozen_lake"], "slippery": False}
    t = next(
        t for t in collect(tiny, "frozen_lake", prompts=4, rollouts=2, env_options=options) if len(t.turn_records) > 1
    )
    env = make_env("frozen_lake", **options)
    env.restore(t.turn_records[1].state)
    here = policy_values(env, tiny, 24, history=(t, 1))
    assert here.n == 24 and here.low <= here.value <= here.high and abs(here.value - here.replica) <= 1.3
    assert here == policy_values(env, tiny, 24, history=(t, 1)), "the same seed, the same estimate"
    answer = policy_values(env, tiny, 24, history=(t, 1), answer=tuple(t.turn_records[1].actions))
    assert answer.n == 24
    fresh = policy_values(env, tiny, 24)
    assert fresh.low <= fresh.value <= fresh.high
    with pytest.raises(ActFocusError, match="history"):
        policy_values(env, tiny, 24, answer=("Left",))
    with pytest.raises(ActFocusError, match="rollouts=1"):
        policy_values(env, tiny, 1)


def test_stored_trajectories_are_judged_turn_by_turn(tiny):
    for options in ({"slippery": False}, {"slippery": True}):
        options = {**tiny.env_options["frozen_lake"], **options}
        for t in collect(tiny, "frozen_lake", prompts=6, rollouts=2, env_options=options):
            turns = trajectory_values(t, options)
            assert len(turns) == len(t.turn_records)
            assert turns[0].value + sum(v.skill + v.luck for v in turns) == pytest.approx(t.ret, abs=1e-6)
            for value, record in zip(turns, t.turn_records):
                assert value.actions[: len(record.actions)] == record.actions


def test_an_environment_without_an_oracle_is_named():
    env = make_env("frozen_lake")
    env.name = "chess"
    with pytest.raises(ActFocusError, match="chess"):
        optimal_values(env)
    with pytest.raises(ActFocusError, match="actions_per_turn=9"):
        optimal_values(make_env("frozen_lake", actions_per_turn=9))
