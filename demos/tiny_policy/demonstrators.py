"""Players that write dialogues in the paper's format, and are partly wrong in their answers.

A demonstrator looks at the board, plans well, says its plan as reasoning that refers to the
board, and then answers. With some probability it answers something else than it planned: so
the policy learns to think right and to act unsurely, which leaves reinforcement learning
something to do on the action tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from actfocus_core.dialogue import SEPARATOR
from actfocus_core.envs import Env, make_env
from actfocus_core.envs.frozen_lake import ACTIONS, FrozenLake, neighbour, reachable


@dataclass(frozen=True)
class Dialogue:
    """A system message and the exchanges after it, as text."""

    system: str
    turns: list[tuple[str, str]]
    """(observation, reply)"""


class LakeWalker:
    """Walks over the frozen lake on a shortest path around the holes."""

    env = "frozen_lake"
    variants = ({"slippery": False}, {"slippery": True})
    practice = (*variants, *({**variant, "frozen": 0.75} for variant in variants))
    """What it learns on: lakes with more holes too, for on the usual ones few are met."""
    options = {"observation": "compact", "response_tokens": 80}
    """What the policy is trained on, and rolled out with by default."""

    def think(self, env: FrozenLake) -> tuple[str, list[str]]:
        """Reasoning of 20 to 60 tokens, and the one or two moves it leads to."""
        (r, c), (goal_r, goal_c) = env.player, env.goal
        way = [f"{abs(goal_r - r)} {'down' if goal_r > r else 'up'}"] * (goal_r != r)
        way += [f"{abs(goal_c - c)} {'right' if goal_c > c else 'left'}"] * (goal_c != c)
        holes = [move for move in ACTIONS if not env.ice[neighbour(env.player, move, env.options.size)]]
        near = f" Hole: {', '.join(holes)}." if holes else " No hole near."
        path = self.path(env)
        going = ", ".join(f"{move} to {_text(cell)}" for move, cell in path)
        return (f"I am at {_text(env.player)}. The goal {_text(env.goal)} is {' '.join(way)}.{near} "
                f"I go {going}."), [move for move, _ in path]

    def path(self, env: FrozenLake) -> list[tuple[str, tuple[int, int]]]:
        """The next one or two moves of a shortest path, and where they lead."""
        distance, cell, path = reachable(env.ice, env.goal), env.player, []
        while cell != env.goal and len(path) < env.options.actions_per_turn:
            cells = {move: neighbour(cell, move, env.options.size) for move in ACTIONS}
            move = min(cells, key=lambda m: distance.get(cells[m], 99))
            cell = cells[move]
            path.append((move, cell))
        return path

    def doubt(self, env: FrozenLake) -> float:
        """How likely an action of the answer is not the planned one: more so near a hole."""
        holes = sum(not env.ice[neighbour(env.player, move, env.options.size)] for move in ACTIONS)
        return 0.7 if holes else 0.6

    def other(self, action: str, rng: Random) -> str:
        """An action that was not planned."""
        return rng.choice([a for a in ACTIONS if a != action])


DEMONSTRATORS = (LakeWalker(),)


def play(demonstrator, env: Env, seed: int, rng: Random, turns: int, doubting: bool) -> Dialogue:
    """A dialogue of at most ``turns`` turns on the environment's seed."""
    observation, exchanges = env.reset(seed, rollout=rng.randrange(1 << 30)), []
    while not (env.terminated or env.truncated) and len(exchanges) < turns:
        reasoning, actions = demonstrator.think(env)
        if doubting:
            doubt = demonstrator.doubt(env)
            actions = [demonstrator.other(a, rng) if rng.random() < doubt else a for a in actions]
        reply = f"<think>{reasoning}</think><answer>{f' {SEPARATOR} '.join(actions)}</answer>"
        exchanges.append((observation, reply))
        observation = env.step(actions).observation
    return Dialogue(env.system_prompt(), exchanges)


def environments(demonstrator) -> list[Env]:
    """One environment a variant it practises on."""
    return [make_env(demonstrator.env, **demonstrator.options, **variant) for variant in demonstrator.practice]


def _text(cell: tuple[int, int]) -> str:
    return f"({cell[0]},{cell[1]})"
