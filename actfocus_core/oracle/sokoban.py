"""Sokoban: all worlds of player and boxes, with how many moves each is from being solved."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from actfocus_core.envs.sokoban import ACTIONS, MOVES, OFF, ON, SOLVED, STEP, Sokoban
from actfocus_core.oracle.base import Tabular


class RoomOracle(Tabular[Sokoban]):
    """The arrays are dense over (player, box, box ...), each a cell of the floor.

    Worlds that cannot be (two things in one cell) are in them too; no move leads there.
    """

    def __init__(self, env: Sokoban):
        super().__init__(env)
        floor = [(int(r), int(c)) for r, c in np.argwhere(~env.walls)]
        self.cell = {cell: i for i, cell in enumerate(floor)}
        things = np.indices((len(floor),) * (1 + len(env.boxes)))
        player, boxes = things[0], things[1:]
        target = np.array([cell in env.targets for cell in floor])
        placed = target[boxes].sum(0)
        self.shape, self.solved = player.shape, placed == len(env.boxes)
        self.next, self.reward = {}, {}
        for action, (dr, dc) in MOVES.items():
            onward = np.array([self.cell.get((r + dr, c + dc), -1) for r, c in floor])
            there, beyond = onward[player], onward[boxes]
            pushed = boxes == there
            blocked = (there < 0) | (pushed & ((beyond < 0) | (beyond[:, None] == boxes[None]).any(1))).any(0)
            after = np.where(blocked, things, np.concatenate([there[None], np.where(pushed, beyond, boxes)]))
            self.next[action] = np.ravel_multi_index(tuple(after), self.shape)
            gained = target[after[1:]].sum(0) - placed
            won = target[after[1:]].all(0)
            self.reward[action] = STEP + ON * (gained > 0) + OFF * (gained < 0) + SOLVED * won

    def index(self, env: Sokoban) -> tuple[int, ...]:
        return tuple(self.cell[cell] for cell in (env.player, *env.boxes))

    def zeros(self) -> np.ndarray:
        return np.zeros(self.shape)

    def back(self, action: str, after: np.ndarray) -> np.ndarray:
        worth = np.where(self.solved, 0.0, after).ravel()
        return np.where(self.solved, 0.0, self.reward[action] + worth[self.next[action]])

    def best(self, after: np.ndarray) -> np.ndarray:
        value: np.ndarray = np.max([self.back(action, after) for action in ACTIONS], 0)
        return value

    @cached_property
    def moves(self) -> np.ndarray:
        """Fewest moves to a solution from every world; infinite in a dead-lock."""
        moves = np.where(self.solved, 0.0, np.inf)
        while True:
            fewer = np.minimum.reduce([moves, *(1 + moves.ravel()[self.next[a]] for a in ACTIONS)])
            if np.array_equal(fewer, moves):
                return moves
            moves = fewer

    def facts(self, env: Sokoban) -> dict[str, Any]:
        """``moves`` to a solution at the least, None in a dead-lock: no moves at all solve it any more."""
        moves = self.moves[self.index(env)]
        return {"moves": int(moves) if np.isfinite(moves) else None}

    def solvable(self, env: Sokoban) -> bool:
        return bool(np.isfinite(self.moves[self.index(env)]))
