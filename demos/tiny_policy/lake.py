"""The demonstrator of FrozenLake: a shortest path around the holes."""

from __future__ import annotations

from random import Random

from actfocus_core.envs.frozen_lake import ACTIONS, FrozenLake, neighbour, reachable


class LakeWalker:
    env = "frozen_lake"
    variants = ({"slippery": False}, {"slippery": True})
    practice = (*variants, {"slippery": False, "frozen": 0.75})
    """Includes lakes with more holes, which are rarely encountered on the default ones."""
    options = {"observation": "compact", "response_tokens": 80}

    def think(self, env: FrozenLake) -> tuple[str, list[str]]:
        """Reasoning of 20 to 60 tokens, and the next one or two moves."""
        (r, c), (goal_r, goal_c) = env.player, env.goal
        way = [f"{abs(goal_r - r)} {'down' if goal_r > r else 'up'}"] * (goal_r != r)
        way += [f"{abs(goal_c - c)} {'right' if goal_c > c else 'left'}"] * (goal_c != c)
        holes = [move for move in ACTIONS if not env.ice[neighbour(env.player, move, env.options.size)]]
        near = f" Hole: {', '.join(holes)}." if holes else " No hole near."
        path = self.path(env)
        going = ", ".join(f"{move} to {text(cell)}" for move, cell in path)
        return (f"I am at {text(env.player)}. The goal {text(env.goal)} is {' '.join(way)}.{near} I go {going}."), [
            move for move, _ in path
        ]

    def path(self, env: FrozenLake) -> list[tuple[str, tuple[int, int]]]:
        """The next one or two moves of a shortest path, with the cells they lead to."""
        distance, cell, path = reachable(env.ice, env.goal), env.player, []
        while cell != env.goal and len(path) < env.options.actions_per_turn:
            cells = {move: neighbour(cell, move, env.options.size) for move in ACTIONS}
            move = min(cells, key=lambda m: distance.get(cells[m], 99))
            cell = cells[move]
            path.append((move, cell))
        return path

    def doubt(self, env: FrozenLake) -> float:
        """Higher near a hole."""
        holes = sum(not env.ice[neighbour(env.player, move, env.options.size)] for move in ACTIONS)
        return 0.7 if holes else 0.6

    def other(self, env: FrozenLake, action: str, rng: Random) -> str:
        return rng.choice([a for a in ACTIONS if a != action])


def text(cell: tuple[int, int]) -> str:
    return f"({cell[0]},{cell[1]})"
