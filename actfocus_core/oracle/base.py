"""What an oracle answers, and backward induction over the turns and actions left.

Between turns the policy sees the state; within a turn it has already written down all its
actions. So the optimum is over lists of actions a turn, of one to ``actions_per_turn``, and
where the world rolls dice a list is carried out blindly. Answers without a valid action are
not among the choices: they cost their penalty and the turn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import product
from typing import Any, Generic, TypeVar

import numpy as np

from actfocus_core.envs.base import Env

E = TypeVar("E", bound=Env)
"""The environment that an oracle knows."""
CACHE_SIZE = 64
"""Worlds whose values are kept at a time."""


class Oracle(ABC, Generic[E]):
    """Exact optimal values of one world (a lake, a room, a puzzle, a goal) for every state of it.

    All values are expected returns from now on, in the environment's rewards.
    """

    def __init__(self, env: E):
        self.options = env.options

    def value(self, env: E) -> float:
        """V*: of the environment's state with the turns and actions it has left."""
        return 0.0 if env.terminated or env.truncated else self.prefix_value(env, ())

    @abstractmethod
    def prefix_value(self, env: E, actions: Sequence[str]) -> float:
        """Of the best turn that begins with these actions (parsed, in the environment's spelling)."""

    @abstractmethod
    def turn_value(self, env: E, actions: Sequence[str]) -> float:
        """Q* of a turn of exactly these actions, perfect play afterwards."""

    def facts(self, env: E) -> dict[str, Any]:
        """What else is known of a state: plain JSON, named by each oracle."""
        return {}

    def solvable(self, env: E) -> bool | None:
        """Whether any number of actions could still reach the goal; None where that is no question."""
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
        """Where the environment's state stands in the arrays."""

    @abstractmethod
    def zeros(self) -> np.ndarray:
        """An array with a zero for every state."""

    @abstractmethod
    def best(self, after: np.ndarray) -> np.ndarray:
        """For every state the best of reward plus what comes ``after``, over all actions."""

    @abstractmethod
    def back(self, action: str, after: np.ndarray) -> np.ndarray:
        """For every state the expected reward of an action plus what comes ``after``."""

    def values(self, turns: int, actions: int) -> np.ndarray:
        """V* of all states at the beginning of a turn."""
        actions = min(actions, turns * self.options.actions_per_turn)
        if not actions:
            return self.zeros()
        if (turns, actions) not in self._values:
            self._values[turns, actions] = (
                self._slots(turns, actions)[0]
                if self.deterministic
                else np.max([self._list(one, turns, actions) for one in self._lists(actions)], 0)
            )
        return self._values[turns, actions]

    def prefix_value(self, env: E, actions: Sequence[str]) -> float:
        turns, left, at = turns_left(env), env.actions_left, self.index(env)
        if not self.deterministic:
            return float(
                max(
                    self._list(one, turns, left)[at]
                    for one in self._lists(left)
                    if one[: len(actions)] == tuple(actions)
                )
            )
        after = self._slots(turns, left)[len(actions)]
        for action in reversed(actions):
            after = self.back(action, after)
        return float(after[at])

    def turn_value(self, env: E, actions: Sequence[str]) -> float:
        return float(self._list(tuple(actions), turns_left(env), env.actions_left)[self.index(env)])

    def _list(self, actions: tuple[str, ...], turns: int, left: int) -> np.ndarray:
        """Q* of one list of actions in every state."""
        after = self.values(turns - 1, left - len(actions))
        for action in reversed(actions):
            after = self.back(action, after)
        return after

    def _lists(self, left: int) -> list[tuple[str, ...]]:
        longest = min(left, self.options.actions_per_turn)
        return [one for n in range(1, longest + 1) for one in product(self.actions(), repeat=n)]

    def actions(self) -> Sequence[str]:
        """All actions of a world that rolls dice."""
        raise NotImplementedError

    def _slots(self, turns: int, left: int) -> list[np.ndarray]:
        """Values after j actions of this turn, for every j: to go on, or to end the turn here.

        Where nothing is left to chance, seeing the state after each action brings nothing.
        """
        longest = min(left, self.options.actions_per_turn)
        slots = [self.values(turns - 1, left - longest)]
        for j in range(longest - 1, -1, -1):
            on = self.best(slots[0])
            slots.insert(0, np.maximum(on, self.values(turns - 1, left - j)) if j else on)
        return slots
