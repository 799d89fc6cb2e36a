"""Sudoku: all fillings of the blanks, one axis of the arrays a blank."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import numpy as np

from actfocus_core.envs.sudoku import INVALID, LEGAL, PEERS, RIGHT, SIZE, SOLVED, Sudoku, completions
from actfocus_core.oracle.base import Tabular


class PuzzleOracle(Tabular[Sudoku]):
    """The numbers of a blank's axis: 0, then those that no given forbids.

    Rewards add up to the worth of the board, so what a placement brings is the difference.
    """

    def __init__(self, env: Sudoku):
        super().__init__(env)
        self.blanks = [cell for cell, given in enumerate(env.givens) if not given]
        free = {
            cell: [n for n in range(1, SIZE + 1) if all(env.givens[p] != n for p in PEERS[cell])]
            for cell in self.blanks
        }
        self.numbers = [[0, *free[cell]] for cell in self.blanks]
        self.shape = tuple(map(len, self.numbers))
        self.worth, self.legal = np.zeros(self.shape), np.ones(self.shape, bool)
        held = [
            np.reshape(numbers, [-1 if i == axis else 1 for i in range(len(self.blanks))])
            for axis, numbers in enumerate(self.numbers)
        ]
        for axis, cell in enumerate(self.blanks):
            right = held[axis] == env.solution[cell]
            self.worth = self.worth + np.where(right, RIGHT, np.where(held[axis] > 0, LEGAL, 0.0))
            for other in range(axis):
                if self.blanks[other] in PEERS[cell]:
                    self.legal &= (held[axis] != held[other]) | (held[axis] == 0)
        self.end = tuple(numbers.index(env.solution[cell]) for cell, numbers in zip(self.blanks, self.numbers))

    def index(self, env: Sudoku) -> tuple[int, ...]:
        return tuple(numbers.index(env.grid[cell]) for cell, numbers in zip(self.blanks, self.numbers))

    def zeros(self) -> np.ndarray:
        return np.zeros(self.shape)

    def best(self, after: np.ndarray) -> np.ndarray:
        refused = INVALID + after
        gained = self._placed(self._total(after)) - self.worth
        result = np.maximum(gained, refused)
        result[self.end] = 0.0
        return result

    def back(self, action: str, after: np.ndarray) -> np.ndarray:
        number, row, column = map(int, re.findall(r"\d+", action))
        cell, result = (row - 1) * SIZE + column - 1, INVALID + after
        on_board = 1 <= row <= SIZE and 1 <= column <= SIZE
        if on_board and cell in self.blanks and number in self.numbers[axis := self.blanks.index(cell)]:
            at = self.numbers[axis].index(number)
            total = np.take(self._total(after), [at], axis)
            allowed = np.isfinite(total) & (np.indices(self.shape, sparse=True)[axis] != at)
            result = np.where(allowed, total - self.worth, result)
        result[self.end] = 0.0
        return result

    def _total(self, after: np.ndarray) -> np.ndarray:
        """The worth of each board as the outcome of a placement, and what comes after it."""
        total = np.where(self.legal, self.worth + after, -np.inf)
        total[self.end] = self.worth[self.end] + SOLVED
        return total

    def _placed(self, total: np.ndarray) -> np.ndarray:
        """For every board the best outcome of putting another number into one cell."""
        best = np.full(self.shape, -np.inf)
        for axis, numbers in enumerate(self.numbers):
            outcomes, into = np.moveaxis(total, axis, 0), np.moveaxis(best, axis, 0)
            for held in range(len(numbers)):
                for placed in range(1, len(numbers)):
                    if placed != held:
                        np.maximum(into[held], outcomes[placed], out=into[held])
        return best

    @cached_property
    def placements(self) -> np.ndarray:
        """Fewest placements to the solution from every board; infinite where the wrong numbers
        block one another for good."""
        score = np.full(self.shape, -np.inf)
        score[self.end] = 0.0
        while True:
            closer = np.where(self.legal, np.maximum(score, self._placed(score) - 1), -np.inf)
            if np.array_equal(closer, score):
                return -score
            score = closer

    def facts(self, env: Sudoku) -> dict[str, Any]:
        """``completions``: complete grids that agree with all numbers on the board, 0 after an
        error; ``placements``: the fewest to the solution, None where it is out of reach for good."""
        fewest = self.placements[self.index(env)]
        return {"completions": len(completions(env.grid)), "placements": int(fewest) if np.isfinite(fewest) else None}

    def solvable(self, env: Sudoku) -> bool:
        return bool(np.isfinite(self.placements[self.index(env)]))
