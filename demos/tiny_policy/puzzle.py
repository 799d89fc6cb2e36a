"""Fills a Sudoku's blanks, the certain ones first, and puts wrong numbers right."""

from __future__ import annotations

from random import Random

from actfocus_core.envs.sudoku import SIZE, Sudoku, place


class Solver:
    env = "sudoku"
    variants = ({},)
    practice = ({},)
    options = {"observation": "compact", "response_tokens": 80, "blanks": 8}

    def think(self, env: Sudoku) -> tuple[str, list[str]]:
        """Reasoning that says of one or two cells what they must hold, and why."""
        said, actions, board = [], [], env.clone()
        while len(actions) < env.options.actions_per_turn and not board.terminated:
            cell, number, why = self.placement(board)
            at = cell // SIZE + 1, cell % SIZE + 1
            said.append(f"Cell ({at[0]},{at[1]}) {why} {number}.")
            actions.append(place(number, *at))
            board.grid = (*board.grid[:cell], number, *board.grid[cell + 1 :])
            board.terminated = board.grid == board.solution
        return " ".join(said), actions

    def placement(self, env: Sudoku) -> tuple[int, int, str]:
        """Cell, number, and the words between them."""
        blanks = [cell for cell in range(SIZE * SIZE) if not env.grid[cell]]
        wrong = [cell for cell in range(SIZE * SIZE) if env.grid[cell] not in (0, env.solution[cell])]
        right = {cell: env.solution[cell] for cell in (*wrong, *blanks) if env.can_place(cell, env.solution[cell])}
        for cell in blanks:
            if cell in right and len(env.candidates(cell)) == 1:
                return cell, right[cell], "can only be"
        for cell in wrong:
            if cell in right:
                return cell, right[cell], f"is {env.grid[cell]}, must be"
        for cell in blanks:
            if cell in right:
                return cell, right[cell], "may be"
        # Wrong numbers block one another: another number makes room, where there is one.
        others = [(cell, n) for cell in (*wrong, *blanks) for n in range(1, SIZE + 1) if env.can_place(cell, n)]
        cell, number = others[0] if others else (wrong[0], env.solution[wrong[0]])
        return cell, number, "is blocked, try"

    def doubt(self, env: Sudoku) -> float:
        return 0.4

    def other(self, env: Sudoku, action: str, rng: Random) -> str:
        """Another number in the same cell."""
        number = int(action.split()[1])
        return action.replace(f"place {number}", f"place {rng.choice([n for n in range(1, SIZE + 1) if n != number])}")
