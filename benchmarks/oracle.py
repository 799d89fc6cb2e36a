"""Time of the exact solvers for one state space, compared with plain recursion.

    python benchmarks/oracle.py

Each solver starts without caches on new worlds: it builds its arrays and reads the values of the initial state and of all
legal actions. The peer is memoised recursion over cloned environments on the same worlds, where it is feasible (FrozenLake
without slips, Sokoban with three turns left).
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
        solver_ms, recursion_ms = [], []
        for seed in range(WORLDS):
            env.reset(seed)
            solver_ms.append(_milliseconds(_solve, env))
            if peer and seed < 5:
                recursion_ms.append(_milliseconds(_recursion, env))
        median = statistics.median(solver_ms)
        comparison = (
            f"{statistics.median(recursion_ms):13.1f} {statistics.median(recursion_ms) / median:6.0f}x"
            if recursion_ms
            else f"{'-':>13} {'-':>7}"
        )
        print(f"{name:12} {str({**options, **(peer or {})}):34} {median:10.1f} {max(solver_ms):10.1f} {comparison}")


def _solve(env: Env) -> list[float]:
    oracle = ORACLES[env.name](env)
    return [oracle.value(env), *(oracle.prefix_value(env, (a,)) for a in env.legal_actions())]


def _recursion(env: Env) -> float:
    cache: dict[tuple, float] = {}

    def value(env: Env) -> float:
        if env.terminated or env.truncated:
            return 0.0
        key = env.state_key(), env.turn, env.actions_left
        if key not in cache:
            cache[key] = max(after(env, answer) for n in (1, 2) for answer in product(env.legal_actions(), repeat=n))
        return cache[key]

    def after(env: Env, answer: tuple[str, ...]) -> float:
        copy = env.clone()
        return copy.step(list(answer)).reward + value(copy)

    return value(env)


def _milliseconds(work, env: Env) -> float:
    start = time.perf_counter()
    work(env)
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
