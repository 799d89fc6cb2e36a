"""Sudoku 4 x 4: fill the blanks; every puzzle has one solution.

A placed number is worth 1 if it is the solution's and 0.5 if it is another legal one; the reward of a placement is the
change of the board's worth. The sum of rewards therefore depends only on the board, not on the order of placements, and
cannot be increased by replacing numbers back and forth.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import lru_cache
from itertools import permutations
from typing import Any

import numpy as np
from pydantic import Field

from actfocus_core.envs.base import Env, EnvOptions, stable_seed

SIZE, BOX = 4, 2
RIGHT, LEGAL, INVALID, SOLVED = 1.0, 0.5, -0.1, 10.0
_WORDS = re.compile(
    r"place\s+(\d{1,3})\s+at\s+(?:row\s+(\d{1,3})\s+col(?:umn)?\s+(\d{1,3})|\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\))",
    re.IGNORECASE | re.ASCII,
)
_NUMBERS = re.compile(r"(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})", re.ASCII)

Grid = tuple[int, ...]
"""16 numbers in row-major order; 0 is a blank."""
_CELLS = [divmod(i, SIZE) for i in range(SIZE * SIZE)]
PEERS: list[list[int]] = [
    [
        j
        for j, (q, d) in enumerate(_CELLS)
        if j != i and (q == r or d == c or (q // BOX, d // BOX) == (r // BOX, c // BOX))
    ]
    for i, (r, c) in enumerate(_CELLS)
]
"""For each cell, the seven cells of its row, column and box, which must contain other numbers."""


class SudokuOptions(EnvOptions):
    max_turns: int = Field(8, ge=1, le=100)
    max_actions: int = Field(16, ge=1, le=1000)
    blanks: int = Field(6, ge=1, le=9)
    """RAGEN's levels: easy 6, medium 8, hard 9."""


class Sudoku(Env):
    name = "sudoku"
    worked_examples = (
        (
            "Candidates of the empty cells: (1,1): 4; (2,3): 1, 2.",
            "Row 1, column 1 can hold nothing but 4.",
            ("place 4 at row 1 col 1",),
        ),
        (
            "Candidates of the empty cells: (3,2): 1; (4,4): 3.",
            "Both cells have one candidate left.",
            ("place 1 at row 3 col 2", "place 3 at row 4 col 4"),
        ),
    )
    Options = SudokuOptions
    options: SudokuOptions
    presets = {
        "paper": {"max_turns": 8, "max_actions": 16, "actions_per_turn": 2, "response_tokens": 400},
        "easy": {"blanks": 6},
        "medium": {"blanks": 8},
        "hard": {"blanks": 9},
    }

    def _start(self) -> None:
        self.givens, self.solution = make_puzzle(self.seed, self.options.blanks)
        self.grid = self.givens

    def _apply(self, action: str) -> tuple[float, bool, bool]:
        number, row, column = map(int, re.findall(r"\d+", action))
        if not (
            1 <= row <= SIZE and 1 <= column <= SIZE and self.can_place(cell := (row - 1) * SIZE + column - 1, number)
        ):
            return INVALID, False, False
        before = self.worth(cell)
        self.grid = (*self.grid[:cell], number, *self.grid[cell + 1 :])
        solved = self.grid == self.solution
        return self.worth(cell) - before + SOLVED * solved, solved, solved

    def can_place(self, cell: int, number: int) -> bool:
        """Whether a number can be placed in a cell: not a given, not the present number, no conflict."""
        return (
            not self.givens[cell]
            and 1 <= number <= SIZE
            and self.grid[cell] != number
            and all(self.grid[peer] != number for peer in PEERS[cell])
        )

    def worth(self, cell: int) -> float:
        """The accumulated reward of the number in a cell."""
        if self.givens[cell] or not self.grid[cell]:
            return 0.0
        return RIGHT if self.grid[cell] == self.solution[cell] else LEGAL

    def candidates(self, cell: int) -> list[int]:
        """The numbers that conflict with no peer of the cell."""
        taken = {self.grid[peer] for peer in PEERS[cell]}
        return [number for number in range(1, SIZE + 1) if number not in taken]

    def parse(self, text: str) -> str | None:
        """Accepts ``place N at row R col C``, ``place N at (R,C)`` or ``R,C,N``.

        A position outside the board is parsed as well; its reward is that of an invalid placement.
        """
        text = text.strip()
        if match := _WORDS.fullmatch(text):
            number, *positions = match.groups()
            row, column = (position for position in positions if position is not None)
        elif match := _NUMBERS.fullmatch(text):
            row, column, number = match.groups()
        else:
            return None
        return place(int(number), int(row), int(column))

    def legal_actions(self) -> list[str]:
        if self.terminated or self.truncated:
            return []
        return [
            place(number, r + 1, c + 1)
            for cell, (r, c) in enumerate(_CELLS)
            for number in range(1, SIZE + 1)
            if self.can_place(cell, number)
        ]

    def state_key(self) -> str:
        return "/".join("".join(self._symbol(r * SIZE + c) for c in range(SIZE)) for r in range(SIZE))

    def world_key(self) -> tuple[Hashable, ...]:
        return self.givens, self.solution

    def task_text(self) -> str:
        if self.options.observation == "compact":
            return (
                "Sudoku 4x4. Fill the blanks: each row, column and 2x2 box holds 1 2 3 4. "
                "After each blank (row,column) stand its candidates. Actions place 3 at (1,2)."
            )
        return (
            "You are solving a 4 x 4 Sudoku. Every row, every column and every 2 x 2 box must hold "
            "1, 2, 3 and 4 once.\nSymbols: [n] a given number, n a number you placed, . an empty "
            "cell. Rows and columns count from 1 at the top left. A placed number can be replaced, a "
            "given cannot; a number that conflicts is refused.\n"
            "Actions: place 3 at row 1 col 2."
        )

    def state_text(self) -> str:
        blanks = [cell for cell in range(SIZE * SIZE) if not self.grid[cell]]
        if self.options.observation == "compact":
            opened = " ".join(f"{_text(cell)} {''.join(map(str, self.candidates(cell))) or 'none'}" for cell in blanks)
            placed = " ".join(
                f"{_text(cell)} {self.grid[cell]}"
                for cell in range(SIZE * SIZE)
                if self.grid[cell] and not self.givens[cell]
            )
            return f"Blank {opened or 'none'}. Placed {placed or 'none'}."
        rows = [" ".join(f"{self._symbol(r * SIZE + c):^3}" for c in range(SIZE)) for r in range(SIZE)]
        opened = "; ".join(f"{_text(cell)}: {', '.join(map(str, self.candidates(cell))) or 'none'}" for cell in blanks)
        filled = sum(bool(n) for n in self.grid)
        return "\n".join(
            [
                *rows,
                f"Candidates of the empty cells: {opened or 'no empty cells'}.",
                f"Progress: {filled} of {SIZE * SIZE} cells are filled.",
            ]
        )

    def svg(self) -> str:
        size = 40
        side = SIZE * size
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -2 {side + 4} {side + 4}" role="img">'
            f'<rect x="-2" y="-2" width="{side + 4}" height="{side + 4}" rx="4" fill="#3d4a57"/>'
        ]
        for cell, (r, c) in enumerate(_CELLS):
            x, y, number = c * size + c // BOX, r * size + r // BOX, self.grid[cell]
            given = bool(self.givens[cell])
            parts.append(
                f'<rect x="{x + 0.5}" y="{y + 0.5}" width="{size - 1.5}" height="{size - 1.5}" '
                f'fill="{"#dfe5ea" if given else "#ffffff"}"/>'
            )
            if number:
                colour = "#1f2933" if given else "#0b7a54" if number == self.solution[cell] else "#b34700"
                parts.append(
                    f'<text x="{x + 20}" y="{y + 28}" text-anchor="middle" font-family="sans-serif" '
                    f'font-size="22" font-weight="{700 if given else 500}" fill="{colour}">{number}</text>'
                )
            else:
                for number in self.candidates(cell):
                    dx, dy = ((number - 1) % 2) * 16 + 12, ((number - 1) // 2) * 16 + 16
                    parts.append(
                        f'<text x="{x + dx}" y="{y + dy}" text-anchor="middle" font-family="sans-serif" '
                        f'font-size="10" fill="#8a97a3">{number}</text>'
                    )
        return "".join(parts) + "</svg>"

    def _symbol(self, cell: int) -> str:
        number = self.grid[cell]
        return f"[{number}]" if self.givens[cell] else str(number or ".")

    def _state(self) -> dict[str, Any]:
        return {"givens": list(self.givens), "solution": list(self.solution), "grid": list(self.grid)}

    def _restore(self, state: dict[str, Any]) -> None:
        self.givens, self.solution, self.grid = (tuple(state[k]) for k in ("givens", "solution", "grid"))


def place(number: int, row: int, column: int) -> str:
    """A placement in canonical spelling; rows and columns count from 1."""
    return f"place {number} at ({row},{column})"


@lru_cache(maxsize=1)
def complete_grids() -> tuple[Grid, ...]:
    """All 288 complete 4 x 4 Sudoku grids."""
    rows = list(permutations(range(1, SIZE + 1)))
    grids: list[Grid] = [()]
    for _ in range(SIZE):
        grids = [grid + row for grid in grids for row in rows if _fits(grid + row)]
    return tuple(grids)


def completions(grid: Grid) -> list[Grid]:
    """The complete grids that agree with all numbers of ``grid``."""
    return [full for full in complete_grids() if all(not n or n == m for n, m in zip(grid, full))]


@lru_cache(maxsize=4096)
def make_puzzle(seed: int, blanks: int) -> tuple[Grid, Grid]:
    """Givens and solution: numbers are removed in random order as long as the solution remains unique."""
    rng = np.random.default_rng(stable_seed("sudoku", seed))
    while True:
        solution = complete_grids()[int(rng.integers(len(complete_grids())))]
        grid = list(solution)
        for cell in rng.permutation(SIZE * SIZE):
            if grid.count(0) == blanks:
                break
            grid[cell] = 0
            if len(completions(tuple(grid))) > 1:
                grid[cell] = solution[cell]
        if grid.count(0) == blanks:
            return tuple(grid), solution


def _fits(grid: Grid) -> bool:
    """Whether the last row is consistent with the columns and boxes above it."""
    last = len(grid) - SIZE
    return all(grid[peer] != grid[cell] for cell in range(last, len(grid)) for peer in PEERS[cell] if peer < len(grid))


def _text(cell: int) -> str:
    return f"({cell // SIZE + 1},{cell % SIZE + 1})"
