"""The demonstrator of Sudoku: fills determined blanks first and corrects wrong numbers."""

from __future__ import annotations

from random import Random

from actfocus_core.envs.sudoku import SIZE, Sudoku, place


class Solver:
    env = "sudoku"
    variants = ({},)
    practice = ({},)
    options = {"observation": "compact", "response_tokens": 80, "blanks": 8}

    def think(self, env: Sudoku) -> tuple[str, list[str]]:
        """Reasoning that determines the numbers of one or two cells, and their placements."""
        sentences, actions, board = [], [], env.clone()
        while len(actions) < env.options.actions_per_turn and not board.terminated:
            cell, number, why = self.placement(board)
            at = cell // SIZE + 1, cell % SIZE + 1
            sentences.append(f"Cell ({at[0]},{at[1]}) {why} {number}.")
            actions.append(place(number, *at))
            board.grid = (*board.grid[:cell], number, *board.grid[cell + 1 :])
            board.terminated = board.grid == board.solution
        return " ".join(sentences), actions

    def placement(self, env: Sudoku) -> tuple[int, int, str]:
        """A cell, its number, and the words between them in the reasoning."""
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
        # Wrong numbers block one another: replace one by any number that can be placed.
        placeable = [(cell, n) for cell in (*wrong, *blanks) for n in range(1, SIZE + 1) if env.can_place(cell, n)]
        cell, number = placeable[0] if placeable else (wrong[0], env.solution[wrong[0]])
        return cell, number, "is blocked, try"

    def doubt(self, env: Sudoku) -> float:
        return 0.4

    def other(self, env: Sudoku, action: str, rng: Random) -> str:
        """Another number in the same cell."""
        number = int(action.split()[1])
        return action.replace(f"place {number}", f"place {rng.choice([n for n in range(1, SIZE + 1) if n != number])}")
