"""Ground-truth action values, exact where they can be computed.

There are two oracles, always labelled separately. The **optimal** oracle compares an action with perfect play:
A* = Q* - V*, 0 or less, the cost of a choice. The **policy** oracle compares it with the policy's own continuation:
A_pi = Q_pi - V_pi, the advantage of the policy gradient.
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
