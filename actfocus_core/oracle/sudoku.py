"""Sudoku: all assignments of the blanks; the arrays have one axis for each blank."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import numpy as np

from actfocus_core.envs.sudoku import INVALID, LEGAL, PEERS, RIGHT, SIZE, SOLVED, Sudoku, completions
from actfocus_core.oracle.base import Tabular


class PuzzleOracle(Tabular[Sudoku]):
    """The indices of a blank's axis stand for 0 (blank), then the numbers that no given forbids.

    Rewards sum to the worth of the board, so the reward of a placement is a difference of worths.
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
        number_of = [
            np.reshape(numbers, [-1 if i == axis else 1 for i in range(len(self.blanks))])
            for axis, numbers in enumerate(self.numbers)
        ]
        for axis, cell in enumerate(self.blanks):
            right = number_of[axis] == env.solution[cell]
            self.worth = self.worth + np.where(right, RIGHT, np.where(number_of[axis] > 0, LEGAL, 0.0))
            for earlier in range(axis):
                if self.blanks[earlier] in PEERS[cell]:
                    self.legal &= (number_of[axis] != number_of[earlier]) | (number_of[axis] == 0)
        self.end = tuple(numbers.index(env.solution[cell]) for cell, numbers in zip(self.blanks, self.numbers))

    def index(self, env: Sudoku) -> tuple[int, ...]:
        return tuple(numbers.index(env.grid[cell]) for cell, numbers in zip(self.blanks, self.numbers))

    def zeros(self) -> np.ndarray:
        return np.zeros(self.shape)

    def best_backup(self, after: np.ndarray) -> np.ndarray:
        invalid = INVALID + after
        valid = self._best_placement(self._total(after)) - self.worth
        result = np.maximum(valid, invalid)
        result[self.end] = 0.0
        return result

    def backup(self, action: str, after: np.ndarray) -> np.ndarray:
        number, row, column = map(int, re.findall(r"\d+", action))
        cell, result = (row - 1) * SIZE + column - 1, INVALID + after
        on_board = 1 <= row <= SIZE and 1 <= column <= SIZE
        if on_board and cell in self.blanks and number in self.numbers[axis := self.blanks.index(cell)]:
            index = self.numbers[axis].index(number)
            total = np.take(self._total(after), [index], axis)
            allowed = np.isfinite(total) & (np.indices(self.shape, sparse=True)[axis] != index)
            result = np.where(allowed, total - self.worth, result)
        result[self.end] = 0.0
        return result

    def _total(self, after: np.ndarray) -> np.ndarray:
        """Worth of each board plus the value ``after``; -inf for boards with a conflict."""
        total = np.where(self.legal, self.worth + after, -np.inf)
        total[self.end] = self.worth[self.end] + SOLVED
        return total

    def _best_placement(self, total: np.ndarray) -> np.ndarray:
        """Maximum of ``total`` over the boards that differ by another number in one cell, for every board."""
        best = np.full(self.shape, -np.inf)
        for axis, numbers in enumerate(self.numbers):
            total_view, best_view = np.moveaxis(total, axis, 0), np.moveaxis(best, axis, 0)
            for present in range(len(numbers)):
                for placed in range(1, len(numbers)):
                    if placed != present:
                        np.maximum(best_view[present], total_view[placed], out=best_view[present])
        return best

    @cached_property
    def placements(self) -> np.ndarray:
        """Minimum number of placements to the solution, for every board; infinite if it is unreachable because wrong
        numbers block one another."""
        score = np.full(self.shape, -np.inf)
        score[self.end] = 0.0
        while True:
            closer = np.where(self.legal, np.maximum(score, self._best_placement(score) - 1), -np.inf)
            if np.array_equal(closer, score):
                return -score
            score = closer

    def facts(self, env: Sudoku) -> dict[str, Any]:
        """``completions``: number of complete grids that agree with the board, 0 after an error; ``placements``: minimum
        number of placements to the solution, None if it is unreachable."""
        fewest = self.placements[self.index(env)]
        return {"completions": len(completions(env.grid)), "placements": int(fewest) if np.isfinite(fewest) else None}

    def solvable(self, env: Sudoku) -> bool:
        return bool(np.isfinite(self.placements[self.index(env)]))
