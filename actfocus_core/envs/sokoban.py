"""Sokoban: push the boxes onto the targets; a push may be irreversible."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import Field

from actfocus_core.envs.base import Env, EnvOptions, match_name, stable_seed
from actfocus_core.errors import ActFocusError

ACTIONS = ["Up", "Down", "Left", "Right"]
MOVES = {"Up": (-1, 0), "Down": (1, 0), "Left": (0, -1), "Right": (0, 1)}
STEP, ON, OFF, SOLVED = -0.1, 1.0, -1.0, 10.0
"""Rewards of a move, of pushing a box onto a target, of pushing one off a target, and of solving the room."""
DRAWS = 4
"""Number of starting positions sampled for a room; the one with the boxes farthest from the targets is used."""
ATTEMPTS = 200

Cell = tuple[int, int]
World = tuple[Cell, tuple[Cell, ...]]
"""The movable objects: the player's cell and the sorted cells of the boxes."""


class SokobanOptions(EnvOptions):
    size: int = Field(6, ge=5, le=10)
    """Side length of the room in cells, outer walls included."""
    boxes: int = Field(1, ge=1, le=2)
    max_solution: int | None = Field(None, ge=1, le=1000)
    """Maximum length of a shortest solution in moves; by default the action budget."""


class Sokoban(Env):
    name = "sokoban"
    worked_examples = (
        (
            "Player (2,1). Boxes (2,2). Targets (2,4).",
            "The box is right of me and its target two cells further right. I push it there.",
            ("Right", "Right"),
        ),
        (
            "Player (1,3). Boxes (3,3). Targets (4,3).",
            "The box is two cells below me and its target under it. I walk to the box and push it down.",
            ("Down", "Down"),
        ),
    )
    Options = SokobanOptions
    options: SokobanOptions
    presets = {
        "paper": {"max_turns": 5, "max_actions": 10, "actions_per_turn": 2, "response_tokens": 400},
        "large": {"size": 8, "boxes": 2, "max_turns": 15, "max_actions": 30},
    }

    def _start(self) -> None:
        o = self.options
        longest = o.max_solution or min(o.max_actions, o.max_turns * o.actions_per_turn)
        self.walls, self.targets, self.player, self.boxes = make_room(self.seed, o.size, o.boxes, longest)

    def _apply(self, action: str) -> tuple[float, bool, bool]:
        placed_before = self.placed()
        self.player, self.boxes = move(self.walls, (self.player, self.boxes), action)
        change = self.placed() - placed_before
        solved = self.placed() == len(self.boxes)
        return STEP + (ON if change > 0 else OFF if change < 0 else 0) + SOLVED * solved, solved, solved

    def placed(self) -> int:
        """The number of boxes on targets."""
        return sum(box in self.targets for box in self.boxes)

    def parse(self, text: str) -> str | None:
        return match_name(text, ACTIONS)

    def legal_actions(self) -> list[str]:
        return [] if self.terminated or self.truncated else list(ACTIONS)

    def grid(self) -> list[str]:
        """The room in the symbols of the observation, one string a row."""
        rows = [["#" if wall else "_" for wall in row] for row in self.walls]
        for r, c in self.targets:
            rows[r][c] = "O"
        for box in self.boxes:
            rows[box[0]][box[1]] = "√" if box in self.targets else "X"
        r, c = self.player
        rows[r][c] = "S" if self.player in self.targets else "P"
        return ["".join(row) for row in rows]

    def state_key(self) -> str:
        return "/".join(self.grid())

    def world_key(self) -> tuple[Hashable, ...]:
        return self.walls.tobytes(), self.targets

    def task_text(self) -> str:
        if self.options.observation == "compact":
            return (
                "Sokoban. P pushes X to O. # is wall, as is the border. A box cannot be pulled. "
                "Actions Up Down Left Right."
            )
        return (
            "You are moving boxes in a store room. Push every box onto a target. You push a box by "
            "walking into it; you cannot pull, nor push into a wall or another box.\n"
            "Symbols: # wall, _ floor, O target, X box, √ box on a target, P you, S you on a target. "
            f"Cells are (row, column) from (0, 0) at the top left.\nActions: {', '.join(ACTIONS)}."
        )

    def state_text(self) -> str:
        player, boxes, targets = _text(self.player), _texts(self.boxes), _texts(self.targets)
        if self.options.observation == "compact":
            inner = np.argwhere(self.walls[1:-1, 1:-1]) + 1
            walls = _texts([(int(r), int(c)) for r, c in inner]) or "none"
            return f"P {player} X {boxes} O {targets} # {walls}"
        return f"Player {player}. Boxes {boxes}. Targets {targets}.\n" + "\n".join(self.grid())

    def svg(self) -> str:
        size = 40
        side = self.options.size * size
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" role="img">'
            f'<rect width="{side}" height="{side}" rx="6" fill="#5b6470"/>'
        ]
        for (r, c), wall in np.ndenumerate(self.walls):
            x, y = c * size, r * size
            fill = "#6f7986" if wall else "#f1e9dc"
            parts.append(f'<rect x="{x + 1}" y="{y + 1}" width="{size - 2}" height="{size - 2}" rx="3" fill="{fill}"/>')
            if (r, c) in self.targets:
                parts.append(
                    f'<circle cx="{x + 20}" cy="{y + 20}" r="11" fill="none" stroke="#009E73" stroke-width="3"/>'
                    f'<circle cx="{x + 20}" cy="{y + 20}" r="4" fill="#009E73"/>'
                )
        for box in self.boxes:
            x, y, home = box[1] * size, box[0] * size, box in self.targets
            parts.append(
                f'<rect x="{x + 6}" y="{y + 6}" width="28" height="28" rx="3" '
                f'fill="{"#3f9b76" if home else "#c98f45"}" stroke="{"#0b5c40" if home else "#7a4f16"}" stroke-width="2"/>'
                f'<path d="M{x + 8} {y + 8}l24 24m0-24l-24 24" stroke="{"#0b5c40" if home else "#7a4f16"}" stroke-width="1.5"/>'
            )
        x, y = self.player[1] * size + 20, self.player[0] * size + 20
        parts.append(
            f'<circle cx="{x}" cy="{y}" r="10" fill="#D55E00" stroke="#fff" stroke-width="2"/>'
            f'<circle cx="{x - 3.5}" cy="{y - 2}" r="1.6" fill="#fff"/>'
            f'<circle cx="{x + 3.5}" cy="{y - 2}" r="1.6" fill="#fff"/></svg>'
        )
        return "".join(parts)

    def _state(self) -> dict[str, Any]:
        return {
            "walls": self.walls.astype(int).tolist(),
            "targets": [list(t) for t in self.targets],
            "player": list(self.player),
            "boxes": [list(b) for b in self.boxes],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.walls = np.array(state["walls"], bool)
        self.player = tuple(state["player"])
        self.targets, self.boxes = (tuple(map(tuple, state[k])) for k in ("targets", "boxes"))


def move(walls: np.ndarray, world: World, action: str) -> World:
    """The world after a move; unchanged if the move is blocked."""
    (player, boxes), (dr, dc) = world, MOVES[action]
    destination = player[0] + dr, player[1] + dc
    if walls[destination]:
        return world
    if destination not in boxes:
        return destination, boxes
    beyond = destination[0] + dr, destination[1] + dc
    if walls[beyond] or beyond in boxes:
        return world
    return destination, tuple(sorted(beyond if box == destination else box for box in boxes))


@lru_cache(maxsize=4096)
def make_room(
    seed: int, size: int, boxes: int, longest: int
) -> tuple[np.ndarray, tuple[Cell, ...], Cell, tuple[Cell, ...]]:
    """Walls, targets, player and boxes of a room that can be solved in at most ``longest`` moves.

    The floor is generated by a random walk, the starting position by pulling the boxes away from the targets. Raises
    ActFocusError if no such room is found, which happens only for a very small ``longest``.
    """
    rng = np.random.default_rng(stable_seed("sokoban", seed))
    for _ in range(ATTEMPTS):
        walls = _dig(rng, size)
        floor = [(int(r), int(c)) for r, c in np.argwhere(~walls)]
        if len(floor) < boxes + 3:
            continue
        targets = tuple(sorted(floor[i] for i in rng.choice(len(floor), boxes, replace=False)))
        starts = [world for world in solution_lengths(walls, targets, longest) if not set(world[1]) & set(targets)]
        if starts:
            sampled = [starts[int(i)] for i in rng.integers(len(starts), size=DRAWS)]
            player, start_boxes = max(sampled, key=lambda world: _displacement(world[1], targets))
            walls.setflags(write=False)
            return walls, targets, player, start_boxes
    raise ActFocusError(
        f"sokoban: no room of size {size} with {boxes} boxes is solvable in {longest} moves; "
        "raise max_solution or max_actions"
    )


def _dig(rng: np.random.Generator, size: int) -> np.ndarray:
    """Walls with a floor dug by a random walk that turns with probability 0.35 and is two cells wide in places."""
    walls = np.ones((size, size), bool)
    inner = size - 2
    position, heading = rng.integers(1, size - 1, 2), rng.integers(4)
    walls[tuple(position)] = False
    for _ in range(inner * inner + 2 * inner):
        if rng.random() < 0.35:
            heading = rng.integers(4)
        step = list(MOVES.values())[heading]
        position = np.clip(position + step, 1, size - 2)
        walls[tuple(position)] = False
        side = np.clip(position + step[::-1], 1, size - 2)
        if rng.random() < 0.5:
            walls[tuple(side)] = False
    return walls


def solution_lengths(walls: np.ndarray, targets: tuple[Cell, ...], longest: int) -> dict[World, int]:
    """Length of a shortest solution in moves, for every world that can be solved in at most ``longest`` moves.

    A breadth-first search backwards from the solved worlds: the player steps back, with or without pulling a box.
    """
    solved_boxes = tuple(sorted(targets))
    floor = [(int(r), int(c)) for r, c in np.argwhere(~walls)]
    moves: dict[World, int] = {}
    # The last move of a solution pushes a box onto a target, so the search starts by undoing such a push.
    queue: deque[World] = deque((cell, solved_boxes) for cell in floor if cell not in solved_boxes)
    solved = dict.fromkeys(queue, 0)
    while queue:
        (player, boxes) = world = queue.popleft()
        count = solved[world] if world in solved else moves[world]
        if count == longest:
            continue
        for dr, dc in MOVES.values():
            back, ahead = (player[0] - dr, player[1] - dc), (player[0] + dr, player[1] + dc)
            if walls[back] or back in boxes:
                continue
            predecessors = [(back, boxes)] if world not in solved else []
            if ahead in boxes:
                predecessors.append((back, tuple(sorted(player if box == ahead else box for box in boxes))))
            for predecessor in predecessors:
                if predecessor not in moves and predecessor not in solved:
                    moves[predecessor] = count + 1
                    queue.append(predecessor)
    return moves


def _displacement(boxes: tuple[Cell, ...], targets: tuple[Cell, ...]) -> int:
    """The sum over boxes of the Manhattan distance to the nearest target, in cells."""
    return sum(min(abs(r - tr) + abs(c - tc) for tr, tc in targets) for r, c in boxes)


def _text(cell: Cell) -> str:
    return f"({cell[0]},{cell[1]})"


def _texts(cells: Iterable[Cell]) -> str:
    return " ".join(map(_text, cells))
