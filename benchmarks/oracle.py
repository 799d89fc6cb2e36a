"""How long the exact solvers take for one state space, and how plain recursion compares.

    python benchmarks/oracle.py

Each solver starts from nothing on worlds it has not seen: arrays built, values of the start state
and of every legal action read. The peer is recursion over cloned environments with a memo, on the
same worlds, where it can finish (FrozenLake without slips, Sokoban with three turns left).
"""

from __future__ import annotations

import statistics
import time
from itertools import product

from actfocus_core.envs import Env, make_env
from actfocus_core.oracle import ORACLES

WORLDS = 20
CASES = [
    ("frozen_lake", {}),
    ("frozen_lake", {"slippery": False}),
    ("sokoban", {}),
    ("sokoban", {"preset": "large"}),
    ("sudoku", {"preset": "easy"}),
    ("sudoku", {"preset": "hard"}),
    ("webshop", {"preset": "tiny"}),
    ("webshop", {}),
]
PEERS = {("frozen_lake", 1): {"slippery": False}, ("sokoban", 2): {"max_turns": 3, "max_actions": 6}}


def main() -> None:
    print(f"{'environment':12} {'options':34} {'median ms':>10} {'worst ms':>10} {'recursion ms':>13} {'ratio':>7}")
    for i, (name, options) in enumerate(CASES):
        env = make_env(name, **options)
        peer = PEERS.get((name, i))
        env = make_env(name, **{**options, **(peer or {})})
        ours, theirs = [], []
        for seed in range(WORLDS):
            env.reset(seed)
            ours.append(_milliseconds(_solve, env))
            if peer and seed < 5:
                theirs.append(_milliseconds(_recursion, env))
        middle = statistics.median(ours)
        other = (
            f"{statistics.median(theirs):13.1f} {statistics.median(theirs) / middle:6.0f}x"
            if theirs
            else f"{'-':>13} {'-':>7}"
        )
        print(f"{name:12} {str({**options, **(peer or {})}):34} {middle:10.1f} {max(ours):10.1f} {other}")


def _solve(env: Env) -> list[float]:
    oracle = ORACLES[env.name](env)
    return [oracle.value(env), *(oracle.prefix_value(env, (a,)) for a in env.legal_actions())]


def _recursion(env: Env) -> float:
    known: dict[tuple, float] = {}

    def value(env: Env) -> float:
        if env.terminated or env.truncated:
            return 0.0
        key = env.state_key(), env.turn, env.actions_left
        if key not in known:
            known[key] = max(after(env, answer) for n in (1, 2) for answer in product(env.legal_actions(), repeat=n))
        return known[key]

    def after(env: Env, answer: tuple[str, ...]) -> float:
        copy = env.clone()
        return copy.step(list(answer)).reward + value(copy)

    return value(env)


def _milliseconds(work, env: Env) -> float:
    began = time.perf_counter()
    work(env)
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
