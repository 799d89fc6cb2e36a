"""Sokoban: all positions of player and boxes, and their distance to a solution in moves."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from actfocus_core.envs.sokoban import ACTIONS, MOVES, OFF, ON, SOLVED, STEP, Sokoban
from actfocus_core.oracle.base import Tabular


class RoomOracle(Tabular[Sokoban]):
    """Arrays are dense over (player, box, box ...), each a cell of the floor.

    They contain impossible states as well (two objects in one cell), but no move leads to one.
    """

    def __init__(self, env: Sokoban):
        super().__init__(env)
        floor = [(int(r), int(c)) for r, c in np.argwhere(~env.walls)]
        self.cell = {cell: i for i, cell in enumerate(floor)}
        objects = np.indices((len(floor),) * (1 + len(env.boxes)))
        player, boxes = objects[0], objects[1:]
        target = np.array([cell in env.targets for cell in floor])
        placed = target[boxes].sum(0)
        self.shape, self.solved = player.shape, placed == len(env.boxes)
        self.next, self.reward = {}, {}
        for action, (dr, dc) in MOVES.items():
            neighbour = np.array([self.cell.get((r + dr, c + dc), -1) for r, c in floor])
            destination, beyond = neighbour[player], neighbour[boxes]
            pushed = boxes == destination
            blocked = (destination < 0) | (pushed & ((beyond < 0) | (beyond[:, None] == boxes[None]).any(1))).any(0)
            after = np.where(blocked, objects, np.concatenate([destination[None], np.where(pushed, beyond, boxes)]))
            self.next[action] = np.ravel_multi_index(tuple(after), self.shape)
            change = target[after[1:]].sum(0) - placed
            solved = target[after[1:]].all(0)
            self.reward[action] = STEP + ON * (change > 0) + OFF * (change < 0) + SOLVED * solved

    def index(self, env: Sokoban) -> tuple[int, ...]:
        return tuple(self.cell[cell] for cell in (env.player, *env.boxes))

    def zeros(self) -> np.ndarray:
        return np.zeros(self.shape)

    def backup(self, action: str, after: np.ndarray) -> np.ndarray:
        next_value = np.where(self.solved, 0.0, after).ravel()
        return np.where(self.solved, 0.0, self.reward[action] + next_value[self.next[action]])

    def best_backup(self, after: np.ndarray) -> np.ndarray:
        value: np.ndarray = np.max([self.backup(action, after) for action in ACTIONS], 0)
        return value

    @cached_property
    def moves(self) -> np.ndarray:
        """Minimum number of moves to a solution, for every state; infinite in a dead-lock."""
        moves = np.where(self.solved, 0.0, np.inf)
        while True:
            fewer = np.minimum.reduce([moves, *(1 + moves.ravel()[self.next[a]] for a in ACTIONS)])
            if np.array_equal(fewer, moves):
                return moves
            moves = fewer

    def facts(self, env: Sokoban) -> dict[str, Any]:
        """``moves``: minimum number of moves to a solution, None in a dead-lock (no solution exists)."""
        moves = self.moves[self.index(env)]
        return {"moves": int(moves) if np.isfinite(moves) else None}

    def solvable(self, env: Sokoban) -> bool:
        return bool(np.isfinite(self.moves[self.index(env)]))
