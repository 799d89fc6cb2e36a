"""The interface of exact oracles, and backward induction over remaining turns and actions.

The policy observes the state between turns, but writes all actions of a turn at once. The optimum is therefore over
sequences of one to ``actions_per_turn`` actions a turn, and in a stochastic world a sequence is executed without
observing its intermediate states. Answers without a valid action are not considered: they lose the penalty and the turn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import product
from typing import Any, Generic, TypeVar

import numpy as np

from actfocus_core.envs.base import Env

E = TypeVar("E", bound=Env)
"""The environment solved by an oracle."""
CACHE_SIZE = 64
"""Number of worlds whose values are cached."""


class Oracle(ABC, Generic[E]):
    """Exact optimal values of all states of one world (a lake, a room, a puzzle, a shopping goal).

    All values are expected returns from the present state on, in the environment's rewards.
    """

    def __init__(self, env: E):
        self.options = env.options

    def value(self, env: E) -> float:
        """V* of the environment's state, with its remaining turns and actions."""
        return 0.0 if env.terminated or env.truncated else self.prefix_value(env, ())

    @abstractmethod
    def prefix_value(self, env: E, actions: Sequence[str]) -> float:
        """Value of the best turn that begins with these actions, given in canonical spelling."""

    @abstractmethod
    def turn_value(self, env: E, actions: Sequence[str]) -> float:
        """Q* of a turn of exactly these actions, followed by perfect play."""

    def facts(self, env: E) -> dict[str, Any]:
        """Further facts about a state as plain JSON; the keys depend on the oracle."""
        return {}

    def solvable(self, env: E) -> bool | None:
        """Whether some number of actions can still reach the goal; None if this is not defined for the environment."""
        return None


def turns_left(env: Env) -> int:
    return env.options.max_turns - env.turn


class Tabular(Oracle[E]):
    """Backward induction over an array of all states."""

    deterministic = True

    def __init__(self, env: E):
        super().__init__(env)
        self._values: dict[tuple[int, int], np.ndarray] = {}

    @abstractmethod
    def index(self, env: E) -> int | tuple[int, ...]:
        """The index of the environment's state in the arrays."""

    @abstractmethod
    def zeros(self) -> np.ndarray:
        """An array with a zero for every state."""

    @abstractmethod
    def best_backup(self, after: np.ndarray) -> np.ndarray:
        """The maximum over all actions of ``backup``, for every state."""

    @abstractmethod
    def backup(self, action: str, after: np.ndarray) -> np.ndarray:
        """Expected reward of an action plus the value ``after`` of the next state, for every state."""

    def values(self, turns: int, actions: int) -> np.ndarray:
        """V* of all states at the beginning of a turn, with so many turns and actions left."""
        actions = min(actions, turns * self.options.actions_per_turn)
        if not actions:
            return self.zeros()
        if (turns, actions) not in self._values:
            self._values[turns, actions] = (
                self._values_within_turn(turns, actions)[0]
                if self.deterministic
                else np.max(
                    [self._sequence_values(sequence, turns, actions) for sequence in self._sequences(actions)], 0
                )
            )
        return self._values[turns, actions]

    def prefix_value(self, env: E, actions: Sequence[str]) -> float:
        turns, left, index = turns_left(env), env.actions_left, self.index(env)
        if not self.deterministic:
            return float(
                max(
                    self._sequence_values(sequence, turns, left)[index]
                    for sequence in self._sequences(left)
                    if sequence[: len(actions)] == tuple(actions)
                )
            )
        after = self._values_within_turn(turns, left)[len(actions)]
        for action in reversed(actions):
            after = self.backup(action, after)
        return float(after[index])

    def turn_value(self, env: E, actions: Sequence[str]) -> float:
        return float(self._sequence_values(tuple(actions), turns_left(env), env.actions_left)[self.index(env)])

    def _sequence_values(self, actions: tuple[str, ...], turns: int, left: int) -> np.ndarray:
        """Q* of a turn of these actions, for every state."""
        after = self.values(turns - 1, left - len(actions))
        for action in reversed(actions):
            after = self.backup(action, after)
        return after

    def _sequences(self, left: int) -> list[tuple[str, ...]]:
        """All sequences of actions that a turn can consist of."""
        longest = min(left, self.options.actions_per_turn)
        return [sequence for n in range(1, longest + 1) for sequence in product(self.actions(), repeat=n)]

    def actions(self) -> Sequence[str]:
        """All actions; needed for stochastic worlds only."""
        raise NotImplementedError

    def _values_within_turn(self, turns: int, left: int) -> list[np.ndarray]:
        """V* of all states after j actions of the present turn, for every j; the turn may end after any action.

        For a deterministic world, in which observing the state after each action gives no advantage.
        """
        longest = min(left, self.options.actions_per_turn)
        values = [self.values(turns - 1, left - longest)]
        for j in range(longest - 1, -1, -1):
            continued = self.best_backup(values[0])
            values.insert(0, np.maximum(continued, self.values(turns - 1, left - j)) if j else continued)
        return values
