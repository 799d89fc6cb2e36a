"""FrozenLake: backward induction over cells, remaining turns and remaining actions, including slips."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.envs.frozen_lake import ACTIONS, FrozenLake
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle.base import Tabular

LONGEST = 4
"""On slippery ice all sequences of actions are enumerated: 340 of up to four actions."""


class LakeOracle(Tabular[FrozenLake]):
    def __init__(self, env: FrozenLake):
        super().__init__(env)
        n, self.deterministic = env.options.size, not env.options.slippery
        if env.options.slippery and env.options.actions_per_turn > LONGEST:
            raise ActFocusError(
                f"frozen_lake: no exact values on slippery ice with actions_per_turn="
                f"{env.options.actions_per_turn}; at most {LONGEST} is supported"
            )
        self.size = n
        cells = [divmod(i, n) for i in range(n * n)]
        goal = env.goal[0] * n + env.goal[1]
        self.open = env.ice.ravel().copy()
        self.open[goal] = False
        outcomes = {a: [env.transitions(cell, a) for cell in cells] for a in ACTIONS}
        self.probability = {a: np.array([[p for p, _ in row] for row in rows]) for a, rows in outcomes.items()}
        self.next = {a: np.array([[r * n + c for _, (r, c) in row] for row in rows]) for a, rows in outcomes.items()}
        self.reward = np.zeros(n * n)
        self.reward[goal] = 1.0

    def index(self, env: FrozenLake) -> int:
        return env.player[0] * self.size + env.player[1]

    def zeros(self) -> np.ndarray:
        return np.zeros(self.size**2)

    def actions(self) -> list[str]:
        return ACTIONS

    def backup(self, action: str, after: np.ndarray) -> np.ndarray:
        next_value = self.reward + self.open * after
        value: np.ndarray = self.open * (self.probability[action] * next_value[self.next[action]]).sum(1)
        return value

    def best_backup(self, after: np.ndarray) -> np.ndarray:
        value: np.ndarray = np.max([self.backup(action, after) for action in ACTIONS], 0)
        return value

    def facts(self, env: FrozenLake) -> dict[str, Any]:
        """``chance``: probability of reaching the goal under perfect play; equals the value, since the reward is 1."""
        return {"chance": self.value(env)}
