"""FrozenLake: walk over ice to the goal; a hole ends the episode."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Any

import numpy as np
from pydantic import Field

from actfocus_core.envs.base import Env, EnvOptions, match_name, stable_seed, stable_uniform

ACTIONS = ["Left", "Down", "Right", "Up"]
"""In gymnasium's order: action i slips to its neighbours i-1 and i+1."""
MOVES = {"Left": (0, -1), "Down": (1, 0), "Right": (0, 1), "Up": (-1, 0)}

Cell = tuple[int, int]


class FrozenLakeOptions(EnvOptions):
    size: int = Field(4, ge=2, le=16)
    frozen: float = Field(0.9, gt=0, le=1)
    """Probability that a cell is ice and not a hole."""
    slippery: bool = True
    success_rate: float = Field(0.8, ge=0, le=1)
    """On slippery ice: probability of the intended move; the remainder is split between the two sides. The paper does not
    state its value."""


class FrozenLake(Env):
    name = "frozen_lake"
    worked_examples = (
        (
            "Start (1,0). Goal (1,3). Player (1,1). Holes (0,2).",
            "I am at (1,1). The goal (1,3) is two cells to the right, and no hole lies between.",
            ("Right", "Right"),
        ),
        (
            "Start (0,0). Goal (2,2). Player (0,2). Holes (1,1) (0,3).",
            "I am at (0,2). The goal (2,2) is two cells below. The hole (0,3) is to my right, below me is ice.",
            ("Down", "Down"),
        ),
    )
    Options = FrozenLakeOptions
    options: FrozenLakeOptions
    presets = {
        "paper": {"max_turns": 5, "max_actions": 10, "actions_per_turn": 2, "response_tokens": 400},
        "deterministic": {"slippery": False},
        "classic": {"frozen": 0.8, "success_rate": 1 / 3},
    }

    def _start(self) -> None:
        rng = np.random.default_rng(stable_seed(self.name, self.seed))
        n = self.options.size
        while True:
            ice = rng.random((n, n)) < self.options.frozen
            start, goal = (divmod(int(i), n) for i in rng.choice(n * n, 2, replace=False))
            ice[start] = ice[goal] = True
            if goal in reachable(ice, start):
                break
        self.ice, self.start, self.goal, self.player = ice, start, goal, start
        self.moves = 0

    def _apply(self, action: str) -> tuple[float, bool, bool]:
        uniform = (
            self.forced_outcomes.pop(0)
            if self.forced_outcomes
            else stable_uniform(self.name, self.seed, self.rollout, self.moves)
        )
        self.moves += 1
        outcomes = self.transitions(self.player, action)
        # The last outcome is the default, since the probabilities may sum to less than 1 by rounding.
        cell = outcomes[-1][1]
        for probability, destination in outcomes:
            if uniform < probability:
                cell = destination
                break
            uniform -= probability
        self.player = cell
        at_goal = cell == self.goal
        return float(at_goal), at_goal or not self.ice[cell], at_goal

    def transitions(self, cell: Cell, action: str) -> list[tuple[float, Cell]]:
        """(probability, cell) of every outcome of an action, the intended one first."""
        i = ACTIONS.index(action)
        outcomes = [(1.0, action)]
        if self.options.slippery:
            side = (1 - self.options.success_rate) / 2
            outcomes = [(self.options.success_rate, action), (side, ACTIONS[i - 1]), (side, ACTIONS[(i + 1) % 4])]
        return [(p, neighbour(cell, move, self.options.size)) for p, move in outcomes]

    def outcome_distribution(self) -> list[tuple[float, float]]:
        probabilities = [p for p, _ in self.transitions(self.player, ACTIONS[0])]
        return [(p, sum(probabilities[:i]) + p / 2) for i, p in enumerate(probabilities) if p]

    def parse(self, text: str) -> str | None:
        return match_name(text, ACTIONS)

    def legal_actions(self) -> list[str]:
        return [] if self.terminated or self.truncated else list(ACTIONS)

    def holes(self) -> list[Cell]:
        return [(int(r), int(c)) for r, c in np.argwhere(~self.ice)]

    def grid(self) -> list[str]:
        """The lake in the symbols of the observation, one string a row."""
        rows = [["_" if ice else "O" for ice in row] for row in self.ice]
        (gr, gc), (pr, pc) = self.goal, self.player
        rows[gr][gc] = "G"
        rows[pr][pc] = "√" if self.player == self.goal else "P" if self.ice[pr, pc] else "X"
        return ["".join(row) for row in rows]

    def state_key(self) -> str:
        return "/".join(self.grid())

    def world_key(self) -> tuple[Hashable, ...]:
        return self.ice.tobytes(), self.goal

    def task_text(self) -> str:
        slip = ""
        if self.options.slippery:
            slip = f" The ice is slippery: a move may go to either side instead, with probability {1 - self.options.success_rate:.2g}."
        if self.options.observation == "compact":
            return (
                f"FrozenLake. Go from P to G, holes O end it. Actions Left Down Right Up.{' Slippery.' if slip else ''}"
            )
        return (
            "You are walking over a frozen lake. Reach the goal G without stepping into a hole.\n"
            "Symbols: P you, _ ice, O hole, G goal, X you in a hole, √ you on the goal. "
            f"Cells are (row, column) from (0, 0) at the top left.{slip}\n"
            f"Actions: {', '.join(ACTIONS)}."
        )

    def state_text(self) -> str:
        holes = " ".join(_text(cell) for cell in self.holes()) or "none"
        if self.options.observation == "compact":
            return f"P {_text(self.player)} G {_text(self.goal)} O {holes}"
        n = self.options.size
        return (
            f"Board {n} x {n}. Start {_text(self.start)}. Goal {_text(self.goal)}. "
            f"Player {_text(self.player)}. Holes {holes}.\n" + "\n".join(self.grid())
        )

    def svg(self) -> str:
        n, size = self.options.size, 40
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {n * size} {n * size}" role="img">'
            f'<rect width="{n * size}" height="{n * size}" rx="6" fill="#7fa8bf"/>'
        ]
        for (r, c), ice in np.ndenumerate(self.ice):
            x, y = c * size, r * size
            parts.append(
                f'<rect x="{x + 1.5}" y="{y + 1.5}" width="{size - 3}" height="{size - 3}" rx="5" '
                f'fill="{"#e3f1f8" if ice else "#b9d4e2"}"/>'
            )
            if not ice:
                parts.append(f'<ellipse cx="{x + 20}" cy="{y + 22}" rx="14" ry="10" fill="#16324a"/>')
            if (r, c) == self.goal:
                parts.append(
                    f'<path d="M{x + 14} {y + 33}V{y + 7}l15 6-15 6" fill="#009E73" '
                    f'stroke="#00563f" stroke-width="2" stroke-linejoin="round"/>'
                )
        (r, c) = self.player
        x, y, sunk = c * size + 20, r * size + 20, not self.ice[self.player]
        parts.append(
            f'<g opacity="{0.6 if sunk else 1}"><circle cx="{x}" cy="{y + (6 if sunk else 0)}" r="10" '
            f'fill="#D55E00" stroke="#fff" stroke-width="2"/>'
            f'<circle cx="{x - 3.5}" cy="{y - 2 + (6 if sunk else 0)}" r="1.6" fill="#fff"/>'
            f'<circle cx="{x + 3.5}" cy="{y - 2 + (6 if sunk else 0)}" r="1.6" fill="#fff"/></g></svg>'
        )
        return "".join(parts)

    def _state(self) -> dict[str, Any]:
        return {
            "ice": self.ice.astype(int).tolist(),
            "start": list(self.start),
            "goal": list(self.goal),
            "player": list(self.player),
            "moves": self.moves,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.ice = np.array(state["ice"], bool)
        self.start, self.goal, self.player = (tuple(state[k]) for k in ("start", "goal", "player"))
        self.moves = state["moves"]


def neighbour(cell: Cell, move: str, size: int) -> Cell:
    """The cell that a move leads to; a move across the border has no effect."""
    r, c = cell[0] + MOVES[move][0], cell[1] + MOVES[move][1]
    return (r, c) if 0 <= r < size and 0 <= c < size else cell


def reachable(ice: np.ndarray, start: Cell) -> dict[Cell, int]:
    """Cell -> distance in moves, for all cells reachable over ice."""
    distance, queue = {start: 0}, deque([start])
    while queue:
        cell = queue.popleft()
        for move in ACTIONS:
            destination = neighbour(cell, move, len(ice))
            if ice[destination] and destination not in distance:
                distance[destination] = distance[cell] + 1
                queue.append(destination)
    return distance


def _text(cell: Cell) -> str:
    return f"({cell[0]},{cell[1]})"
