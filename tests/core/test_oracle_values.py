"""Oracle values of stored turns, recomputed by hand."""

import math
import re
from itertools import product

import numpy as np
import pytest
import torch

from actfocus_core.analysis.scoreboard import Truth
from actfocus_core.counterfactual.branch import branch
from actfocus_core.credit import Batch
from actfocus_core.envs import make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle import get_oracle
from actfocus_core.oracle.policy import position_values
from actfocus_core.oracle.turns import restore_turn
from actfocus_core.oracle.values import UNSOLVED, add_optimal, add_policy, solutions
from actfocus_core.runs import Run
from actfocus_core.trajectory import Trajectory
from tests.core.oracle_runs import K, annotated_rollouts, copies, lake_options, slippery_rollouts, table

MOVES = {"Left": (0, -1), "Down": (1, 0), "Right": (0, 1), "Up": (-1, 0)}
NAMES = list(MOVES)


def of_turn(t, k, name):
    values = t.signals[name][(t.turns == k) & t.response_mask]
    assert len(set(values.tolist())) == 1, "one value on all response tokens of a turn"
    return float(values[0])


@pytest.fixture(scope="module")
def options(tiny):
    return lake_options(tiny)


@pytest.fixture(scope="module")
def slippery(tiny, options):
    return slippery_rollouts(tiny, options)


@pytest.fixture(scope="module")
def dry(tiny, options):
    return annotated_rollouts(tiny, options)


class Lake:
    """A lake written anew: values by plain recursion over cells, turns and actions, slips included."""

    def __init__(self, state, options):
        self.ice, self.goal, self.size = state["ice"], tuple(state["goal"]), len(state["ice"])
        self.o, self.known = options, {}

    def ways(self, cell, action):
        side = (1 - self.o["success_rate"]) / 2 if self.o["slippery"] else 0.0
        turned = [(NAMES.index(action) + d) % 4 for d in (0, -1, 1)]
        for p, i in zip((1 - 2 * side, side, side), turned):
            r, c = cell[0] + MOVES[NAMES[i]][0], cell[1] + MOVES[NAMES[i]][1]
            yield p, (r, c) if 0 <= r < self.size and 0 <= c < self.size else cell

    def turn(self, cell, turn, left, answer, value):
        """Q of an answer, given what the states after it are worth."""
        kept = list(answer[: self.o["actions_per_turn"]])
        penalty = self.o["format_penalty"] if not kept or any(a not in MOVES for a in kept) else 0.0
        return penalty + self.walk(cell, turn, left, [a for a in kept if a in MOVES], value)

    def walk(self, cell, turn, left, actions, value):
        if not actions or not left:
            return value(cell, turn + 1, left) if left and turn + 1 < self.o["max_turns"] else 0.0
        total = 0.0
        for p, there in self.ways(cell, actions[0]):
            if there == self.goal:
                total += p
            elif self.ice[there[0]][there[1]]:
                total += p * self.walk(there, turn, left - 1, actions[1:], value)
        return total

    def v(self, key, choose):
        if key not in self.known:
            self.known[key] = choose(*key)
        return self.known[key]


def here(turn):
    return tuple(turn.state["player"]), turn.state["turn"], turn.state["actions_left"]


def given(t, k):
    """The actions of a reply <think>...</think><answer>...</answer>; none of any other."""
    found = re.match(r".*?<think>.*?</think>\s*<answer>(.*?)</answer>", t.turn_records[k].response, re.DOTALL)
    return [a.strip() for a in found[1].split("||") if a.strip()] if found else []


@pytest.mark.parametrize("is_slippery", [True, False])
def test_a_known_policys_advantage_is_that_of_brute_force(slippery, dry, options, is_slippery):
    ts, o, advantages = copies(slippery if is_slippery else dry), options[is_slippery], set()
    add_policy(ts, table, env_options=o)
    for t in ts:
        lake = Lake(t.turn_records[0].state, o)

        def value(cell, turn, left, lake=lake):
            ahead = "Down" if cell[0] < lake.goal[0] else "Right"
            chances = [(0.4, [ahead]), (0.25, ["Left", ahead]), (0.2, ["Up", "Right"]), (0.1, ["jump"]), (0.05, [])]
            return lake.v((cell, turn, left), lambda *place: sum(p * lake.turn(*place, a, value) for p, a in chances))

        for k, turn in enumerate(t.turn_records):
            v, q = value(*here(turn)), lake.turn(*here(turn), given(t, k), value)
            assert of_turn(t, k, "policy_v") == pytest.approx(v, abs=1e-6)
            assert of_turn(t, k, "policy_q") == pytest.approx(q, abs=1e-6)
            assert of_turn(t, k, "policy_q_n") == 0 == of_turn(t, k, "policy_v_half")
            advantages.add(round(q - v, 4))
    truth = Truth.of(Batch.of(ts))
    assert len(advantages) > 4 and truth.exact and truth.noise_floor == 0


@pytest.mark.parametrize("is_slippery", [True, False])
def test_perfect_play_and_criticality_are_those_of_brute_force(slippery, dry, options, is_slippery):
    ts, o, critical = copies(slippery if is_slippery else dry), options[is_slippery], set()
    add_optimal(ts, o)
    every = [list(a) for n in range(1, o["actions_per_turn"] + 1) for a in product(NAMES, repeat=n)]
    for t in ts:
        lake = Lake(t.turn_records[0].state, o)

        def value(cell, turn, left, lake=lake):
            return lake.v((cell, turn, left), lambda *place: max(lake.turn(*place, a, value) for a in every))

        for k, turn in enumerate(t.turn_records):
            at = here(turn)
            firsts = [max(lake.turn(*at, a, value) for a in every if a[0] == name) for name in NAMES]
            assert of_turn(t, k, "oracle_v") == pytest.approx(value(*at), abs=1e-6)
            assert of_turn(t, k, "oracle_q") == pytest.approx(lake.turn(*at, given(t, k), value), abs=1e-6)
            assert of_turn(t, k, "criticality") == pytest.approx(np.std(firsts), abs=1e-6)
            critical.add(round(float(np.std(firsts)), 4))
    assert len(critical) > (3 if is_slippery else 1)


def test_where_nothing_is_left_to_chance_q_is_reward_plus_the_next_value(dry):
    for t in dry:
        last = len(t.turn_records) - 1
        for k, turn in enumerate(t.turn_records):
            got = turn.reward + turn.penalty
            for end in ("", "_replica"):
                after = of_turn(t, k + 1, f"policy_v{end}") if k < last else 0.0
                assert of_turn(t, k, f"policy_q{end}") == pytest.approx(got + after, abs=1e-6)
            assert of_turn(t, k, "policy_v_n") == K and of_turn(t, k, "policy_q_n") == (K if k < last else 0)
        assert np.isnan(t.signals["policy_v"][~t.response_mask]).all()
    first = {}
    for t in dry:
        first.setdefault(t.group, set()).add(of_turn(t, 0, "policy_v"))
    assert all(len(values) == 1 for values in first.values()), "a group begins alike: one value"


def test_the_models_values_are_those_of_other_rollouts(tiny, slippery, options, tmp_path):
    """V and Q of a turn against the branches of the stored trajectory, rollouts of another seed."""
    o, n = options[True], 20
    t = next(t for t in slippery if len(t.turn_records) > 2 and t.turn_records[-2].valid)
    k = len(t.turn_records) - 2
    run = Run.create(tmp_path / "run", {"env": "frozen_lake", "env_options": o})
    run.add_trajectories(0, slippery)
    said = " || ".join(t.turn_records[k].actions)
    v, q = position_values([(t, k, False), (t, k, True)], tiny, n, env_options=o)
    for one, action in ((v, None), (q, said)):
        others = np.array([b.ret for b in branch(run, t.id, tiny, k, rollouts=n, action=action, seed=9).trajectories])
        others -= sum(r.reward + r.penalty for r in t.turn_records[:k])
        spread = max(others.std(ddof=1), 0.2)
        assert abs(others.mean() - (one.value + one.replica) / 2) < 3.5 * spread * math.sqrt(1 / n + 1 / (2 * n))
        assert one.n == n and one.low <= one.value <= one.high


def test_values_do_not_depend_on_what_else_is_asked(tiny, slippery, options):
    asked = [(t, 0, given) for t in slippery[:2] for given in (False, True)]
    together = position_values(asked, tiny, 2, env_options=options[True])
    assert together[2] == position_values(asked[2:3], tiny, 2, env_options=options[True])[0]
    turnless = Trajectory(**{**vars(slippery[0]), "kinds": np.where(slippery[0].response_mask, 2, slippery[0].kinds)})
    with pytest.raises(ActFocusError, match="no sampled tokens"):
        position_values([(turnless, 0, False)], tiny, 2, env_options=options[True])


def test_log_probs_of_the_solution_are_the_models_own(dry, tiny, options):
    t = max(dry, key=lambda t: len(t.turn_records))
    env = make_env("frozen_lake", **options[False])
    for k in range(len(t.turn_records)):
        best = -math.inf
        for actions in solutions(restore_turn(env, t, k)):
            first = int(np.flatnonzero((t.turns == k) & t.response_mask)[0])
            before = "<think></think><answer>"
            whole = tiny.tokenizer(
                before + " || ".join(actions) + "</answer>", add_special_tokens=False, return_offsets_mapping=True
            )
            ids = torch.tensor([*t.token_ids[:first].tolist(), *whole["input_ids"]])[None]
            logp = tiny.model(input_ids=ids).logits[0].log_softmax(-1)
            stop = len(before) + len(" || ".join(actions))
            own = [first + i for i, (a, _) in enumerate(whole["offset_mapping"]) if len(before) <= a < stop]
            best = max(best, float(np.mean([float(logp[i - 1, ids[0, i]]) for i in own])))
        assert of_turn(t, k, "answer_logprob_before") == pytest.approx(best, abs=1e-4)
        if k:
            assert of_turn(t, k - 1, "answer_logprob_after") == of_turn(t, k, "answer_logprob_before")
    ends = {t.success: of_turn(t, len(t.turn_records) - 1, "answer_logprob_after") for t in dry}
    assert ends == {True: 0.0, False: UNSOLVED}


@pytest.mark.parametrize(
    ("name", "more"),
    [("frozen_lake", {}), ("sokoban", {}), ("sudoku", {"blanks": 4}), ("webshop", {"departments": ["fashion"]})],
)
def test_solutions_are_optimal_and_no_longer_than_need_be(name, more):
    env = make_env(name, **more)
    for seed in range(3):
        env.reset(seed)
        oracle, found = get_oracle(env), solutions(env)
        assert 1 <= len(found) <= 4 and len(set(found)) == len(found)
        for turn in found:
            assert oracle.turn_value(env, turn) == pytest.approx(oracle.value(env), abs=1e-9)
            for n in range(1, len(turn)):
                assert oracle.turn_value(env, turn[:n]) < oracle.value(env) - 1e-9
