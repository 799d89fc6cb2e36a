"""What holds of every environment, and the rules of Sokoban and Sudoku."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actfocus_core.dialogue import find_spans, split_actions
from actfocus_core.envs import ENVS, make_env
from actfocus_core.envs.sokoban import ACTIONS, MOVES, make_room, solution_lengths
from actfocus_core.envs.sudoku import PEERS, complete_grids, completions, make_puzzle
from actfocus_core.errors import ActFocusError

NAMES = sorted(ENVS)
numbers = st.lists(st.integers(0, 10**6), min_size=1, max_size=12)
strings = st.lists(
    st.lists(
        st.one_of(
            st.text(max_size=30),
            st.sampled_from(
                [
                    "Up",
                    " down ",
                    "LEFT",
                    "Right||Up",
                    "place 3 at (1,2)",
                    "1,2,3",
                    "place 9 at row 9 col 9",
                    "1,0,0",
                    "search[red dress]",
                    "click[buy now]",
                    "click[1]",
                    "search[]",
                    "place 3 at (١,2)",
                ]
            ),
        ),
        max_size=4,
    ),
    max_size=8,
)


@pytest.fixture(params=NAMES)
def env(request):
    return make_env(request.param, **({"departments": ["fashion"]} if request.param == "webshop" else {}))


def turn_of(env, choice):
    """A turn of one or two legal actions, as a number chooses."""
    legal = env.legal_actions()
    if not legal:
        return []
    return [legal[choice % len(legal)], legal[choice // 7 % len(legal)]][: 1 + choice % 2]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**9), rollout=st.integers(0, 50), choices=numbers)
def test_clone_and_restore_commute_with_step(name, seed, rollout, choices):
    env = make_env(name, **({"departments": ["fashion"]} if name == "webshop" else {}))
    other = env.clone()
    env.reset(seed, rollout)
    for choice in choices:
        stored = json.loads(json.dumps(env.state()))
        clone, actions = env.clone(), turn_of(env, choice)
        other.restore(stored)
        results = [one.step(actions) for one in (env, clone, other)]
        assert results[0] == results[1] == results[2]
        assert env.state() == clone.state() == other.state() and env.state_key() == other.state_key()
        assert env.svg() == other.svg() and env.legal_actions() == other.legal_actions()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**9), choices=numbers)
def test_replaying_actions_replays_states(name, seed, choices):
    env = make_env(name, **({"departments": ["fashion"]} if name == "webshop" else {}))
    env.reset(seed, 3)
    played = []
    for choice in choices:
        actions = turn_of(env, choice)
        played.append((actions, env.step(actions), env.state()))
    env.reset(seed + 1)
    env.reset(seed, 3)
    assert [(actions, env.step(actions), env.state()) for actions, _, _ in played] == played


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), turns=strings)
def test_no_strings_raise_or_move_the_state_illegally(name, seed, turns):
    env = make_env(name, max_turns=8, **({"departments": ["fashion"]} if name == "webshop" else {}))
    env.reset(seed)
    for answers in turns:
        before, ended = env.clone(), env.terminated or env.truncated
        step = env.step(answers)
        understood = [before.parse(a) for a in answers[: env.options.actions_per_turn]]
        assert step.info["valid"] == (not ended and bool(understood) and None not in understood)
        assert step.info["penalty"] == (0.0 if step.info["valid"] or ended else env.options.format_penalty)
        # What was carried out, and nothing else, leads from the state before to the state after.
        again = before.clone()
        for action in step.info["actions"]:
            assert action == before.parse(action) or name == "webshop"
            _, again.terminated, again.success = again._apply(action)
        assert again.state_key() == env.state_key()
        check_state(env)


def check_state(env):
    """The world obeys its own physics."""
    if env.name == "sokoban":
        assert not env.walls[env.player] and not any(env.walls[b] for b in env.boxes)
        assert len({env.player, *env.boxes}) == 1 + env.options.boxes
    elif env.name == "sudoku":
        assert all(not g or g == n for g, n in zip(env.givens, env.grid))
        assert all(not n or all(env.grid[p] != n for p in PEERS[i]) for i, n in enumerate(env.grid))
    elif env.name == "frozen_lake":
        assert all(0 <= x < env.options.size for x in env.player)


def test_a_reset_depends_on_the_seed_alone_and_seeds_differ(env):
    first = env.reset(123, 0)
    assert env.reset(123, 7) == first
    assert len({env.reset(seed) for seed in range(20)}) > 15


def test_options_and_presets_are_checked(env):
    assert make_env(env.name, preset="paper").options.max_turns == {"sudoku": 8, "webshop": 9}.get(env.name, 5)
    assert make_env(env.name, preset="paper", max_turns=3).options.max_turns == 3
    with pytest.raises(ActFocusError, match="there are paper"):
        make_env(env.name, preset="nonsense")
    with pytest.raises(ActFocusError, match="max_turns=0"):
        make_env(env.name, max_turns=0)


def test_the_picture_is_one_svg_of_shapes(env):
    env.reset(5)
    assert env.svg().startswith("<svg ") and env.svg().endswith("</svg>") and "<script" not in env.svg()


@pytest.mark.parametrize(("name", "options"), [("frozen_lake", {}), ("sokoban", {}), ("sudoku", {}), ("webshop", {})])
def test_a_turn_without_an_answer_costs_the_penalty_and_keeps_the_state(name, options):
    env = make_env(name, **options)
    env.reset(1)
    key = env.state_key()
    step = env.step([])
    assert (step.reward, step.info["penalty"], step.info["valid"]) == (0.0, -0.1, False)
    assert env.state_key() == key and env.turn == 1 and env.actions_left == env.options.max_actions


# --- Sokoban -------------------------------------------------------------------------------


def test_a_thousand_rooms_can_be_solved_in_budget():
    lengths, displaced = [], 0
    for seed in range(1000):
        walls, targets, player, boxes = make_room(seed, 6, 1, 10)
        lengths.append(shortest(walls, targets, player, boxes))
        displaced += boxes != targets
    assert max(lengths) <= 10 and min(lengths) >= 1 and displaced == 1000
    assert 3 <= np.median(lengths) <= 5, "RAGEN's rooms have a median of 4"


def test_rooms_of_two_boxes_can_be_solved_in_budget():
    env = make_env("sokoban", preset="large")
    for seed in range(15):
        env.reset(seed)
        assert len(env.boxes) == 2 and 1 <= shortest(env.walls, env.targets, env.player, env.boxes) <= 30


def shortest(walls, targets, player, boxes) -> int:
    """Moves of a shortest solution, by a breadth-first search forwards."""
    frontier, seen, moves = {(player, boxes)}, set(), 0
    while frontier:
        if any(set(b) == set(targets) for _, b in frontier):
            return moves
        seen |= frontier
        ahead = set()
        for (r, c), b in frontier:
            for dr, dc in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                to, past = (r + dr, c + dc), (r + 2 * dr, c + 2 * dc)
                if walls[to]:
                    continue
                if to not in b:
                    ahead.add((to, b))
                elif not walls[past] and past not in b:
                    ahead.add((to, tuple(sorted({*b, past} - {to}))))
        frontier, moves = ahead - seen, moves + 1
    raise AssertionError("no solution")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), boxes=st.sampled_from([1, 2]))
def test_the_search_backwards_counts_moves_as_a_search_forwards(seed, boxes):
    walls, targets, player, crates = make_room(seed, 6, boxes, 30)
    assert solution_lengths(walls, targets, 100)[(player, crates)] == shortest(walls, targets, player, crates)


def test_sokoban_pays_what_ragen_pays():
    env = make_env("sokoban", max_turns=20, max_actions=40)
    walls = [[1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1], *[[1] * 6] * 3]
    state = env.state() | {"walls": walls, "player": [1, 1], "boxes": [[1, 2]], "targets": [[1, 3]]}
    env.restore(state)
    assert env.step(["Up"]).reward == pytest.approx(-0.1) and env.player == (1, 1)
    step = env.step(["Right"])
    assert step.reward == pytest.approx(-0.1 + 1 + 10) and step.terminated and env.success
    two = state | {"boxes": [[1, 2]], "targets": [[1, 2]], "player": [1, 1]}
    env.restore(two)
    assert env.step(["right"]).reward == pytest.approx(-0.1 - 1)
    assert env.grid()[1] == "#_S" + "X_#", "the player stands on the target, the box beside it"


def test_a_move_into_a_wall_or_a_blocked_box_changes_nothing():
    env = make_env("sokoban")
    for seed in range(40):
        env.reset(seed)
        for action in ACTIONS:
            trial, (dr, dc) = env.clone(), MOVES[action]
            there = env.player[0] + dr, env.player[1] + dc
            trial.step([action])
            if env.walls[there]:
                assert trial.player == env.player and trial.boxes == env.boxes
            elif there not in env.boxes:
                assert trial.player == there and trial.boxes == env.boxes


# --- Sudoku --------------------------------------------------------------------------------


def test_there_are_288_grids_and_all_are_sudokus():
    grids = complete_grids()
    assert len(set(grids)) == 288
    for grid in grids:
        assert all(grid[i] != grid[p] for i in range(16) for p in PEERS[i]) and set(grid) == {1, 2, 3, 4}


def test_a_thousand_puzzles_have_one_solution():
    for seed in range(1000):
        givens, solution = make_puzzle(seed, blanks := (6, 8, 9)[seed % 3])
        assert givens.count(0) == blanks and completions(givens) == [solution]


def test_one_solution_by_an_independent_search():
    def count(grid):
        if 0 not in grid:
            return 1
        i = grid.index(0)
        return sum(count((*grid[:i], n, *grid[i + 1 :])) for n in range(1, 5) if all(grid[p] != n for p in PEERS[i]))

    for seed in range(60):
        assert count(make_puzzle(seed, 9)[0]) == 1


def test_sudoku_pays_for_what_a_placement_adds():
    env = make_env("sudoku", blanks=9)
    for seed in range(30):
        env.reset(seed)
        blank = env.grid.index(0)
        r, c, right = blank // 4 + 1, blank % 4 + 1, env.solution[blank]
        given = next(i for i in range(16) if env.givens[i])
        refused = [f"place {right} at ({given // 4 + 1},{given % 4 + 1})", f"place 9 at ({r},{c})", "place 1 at (7,1)"]
        for action in refused:
            trial = env.clone()
            assert trial.step([action]).reward == pytest.approx(-0.1) and trial.grid == env.grid
        other = [n for n in env.candidates(blank) if n != right]
        if other:
            trial = env.clone()
            assert trial.step([f"{r},{c},{other[0]}"]).reward == 0.5
            if all(trial.grid[p] != right for p in PEERS[blank]):
                assert trial.step([f"place {right} at row {r} col {c}"]).reward == 0.5, "1 in all"
                assert trial.step([f"place {right} at row {r} col {c}"]).reward == pytest.approx(-0.1), (
                    "it stands there"
                )
        total = 0.0
        while not (env.terminated or env.truncated):
            blanks = [i for i in range(16) if not env.grid[i]][:2]
            total += env.step([f"{i // 4 + 1},{i % 4 + 1},{env.solution[i]}" for i in blanks]).reward
        assert env.success and total == 9 + 10


@pytest.mark.parametrize("observation", ["full", "compact"])
def test_worked_examples_stand_in_the_system_message_in_the_format_they_teach(env, observation):
    plain = make_env(env.name, observation=observation).system_prompt()
    for count in (1, 2):
        shown = make_env(env.name, observation=observation, examples=count, actions_per_turn=1)
        prompt = shown.system_prompt()
        assert prompt.startswith(plain.replace("2 actions", "1 actions") if observation == "compact" else plain)
        blocks = prompt.split("For example, to\n")[1:]
        assert len(blocks) == count
        for block in blocks:
            reply = block.split("you may answer\n")[1].strip()
            spans = find_spans(reply)
            assert spans.reasoning and spans.answer
            actions = split_actions(reply[slice(*spans.answer)])
            # The shop's second example stands on a page of its own.
            assert len(actions) == 1 and (shown.parse(actions[0]) or actions == ["click[buy now]"])
    with pytest.raises(ActFocusError, match="examples=3"):
        make_env(env.name, examples=3)
