"""Ground truth: what every action was worth, exactly where it can be had.

Two oracles, always labelled apart. The **optimal** one compares with perfect play: A* = Q* - V*,
0 or less, what a choice cost. The **policy** one compares with what the policy itself goes on to
do: A_pi = Q_pi - V_pi, what a policy gradient wants.
"""

from actfocus_core.oracle.base import Oracle
from actfocus_core.oracle.policy import Estimate, policy_values
from actfocus_core.oracle.turns import (
    ORACLES,
    OptimalValues,
    TurnValue,
    get_oracle,
    judge,
    optimal_values,
    trajectory_values,
)

__all__ = [
    "ORACLES",
    "Estimate",
    "OptimalValues",
    "Oracle",
    "TurnValue",
    "judge",
    "optimal_values",
    "get_oracle",
    "policy_values",
    "trajectory_values",
]
