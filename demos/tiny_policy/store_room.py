"""The demonstrator of Sokoban: names the next push, walks there, pushes."""

from __future__ import annotations

from functools import lru_cache
from random import Random

import numpy as np

from actfocus_core.envs.sokoban import ACTIONS, MOVES, Cell, Sokoban, World, move, solution_lengths
from tiny_policy.lake import text

FAR = 10_000


class BoxPusher:
    env = "sokoban"
    variants = ({},)
    practice = ({}, {}, {})
    """Three times the dialogues of another environment, since it is the hardest of the four."""
    options = {"observation": "compact", "response_tokens": 80}

    def think(self, env: Sokoban) -> tuple[str, list[str]]:
        """Reasoning that names the next push of a shortest solution, and its next moves."""
        path = solution(env)
        if not path:
            near = next(
                a for a in ACTIONS if (there := move(env.walls, world(env), a)) != world(env) and there[1] == env.boxes
            )
            return f"I am at {text(env.player)}. The box {text(env.boxes[0])} is stuck. I go {near}.", [near]
        push, (start, box, to) = next_push(env, path)
        steps, at = [], world(env)
        for action in path[: env.options.actions_per_turn]:
            at = move(env.walls, at, action)
            steps.append(f"{action} to {text(at[0])}")
        return (
            f"I am at {text(env.player)}. The box {text(box)} must go {push} to {text(to)}, pushed from "
            f"{text(start)}. I go {', '.join(steps)}."
        ), path[: env.options.actions_per_turn]

    def doubt(self, env: Sokoban) -> float:
        return 0.3

    def other(self, env: Sokoban, action: str, rng: Random) -> str:
        return rng.choice([a for a in ACTIONS if a != action])


def world(env: Sokoban) -> World:
    return env.player, env.boxes


def solution(env: Sokoban) -> list[str]:
    """The moves of a shortest solution; empty if there is none."""
    left, at, path = distances(env.walls.tobytes(), env.targets, env.options.size), world(env), []
    home = tuple(sorted(env.targets))
    while at[1] != home:
        ahead = {action: move(env.walls, at, action) for action in ACTIONS}
        best = min(ACTIONS, key=lambda a: 0 if ahead[a][1] == home else left.get(ahead[a], FAR))
        if ahead[best][1] != home and left.get(ahead[best], FAR) >= left.get(at, FAR):
            return []
        at = ahead[best]
        path.append(best)
    return path


@lru_cache(maxsize=64)
def distances(walls: bytes, targets: tuple[Cell, ...], size: int) -> dict[World, int]:
    return solution_lengths(np.frombuffer(walls, bool).reshape(size, size), targets, FAR)


def next_push(env: Sokoban, path: list[str]) -> tuple[str, tuple[Cell, Cell, Cell]]:
    """The first push of a path: its direction, where the player stands, the box before and after."""
    at = world(env)
    for action in path:
        after = move(env.walls, at, action)
        if after[1] != at[1]:
            dr, dc = MOVES[action]
            box = after[0]
            return action, (at[0], box, (box[0] + dr, box[1] + dc))
        at = after
    raise AssertionError("a solution pushes")
