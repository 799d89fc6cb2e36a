"""Advantages from returns (method.md section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actfocus_core.errors import ActFocusError

EPSILON = 1e-6


def grpo_advantages(returns: np.ndarray, groups: Sequence[str], std: bool = True) -> np.ndarray:
    """A = (R - mean_group R) / (std_group R + 1e-6), once a trajectory.

    ``returns``: [n]; ``groups``: n prompt names. ``std=False`` leaves the division out (Dr.GRPO).
    Returns float32 [n]; a group whose returns are all equal gives exactly 0. Population standard
    deviation. Raises ActFocusError where the lengths differ.
    """
    returns = np.asarray(returns, np.float64)
    if len(groups) != len(returns):
        raise ActFocusError(f"{len(groups)} groups for {len(returns)} returns; they must be as many")
    advantages = np.zeros(len(returns))
    groups = np.asarray(groups)
    for group in dict.fromkeys(groups.tolist()):
        members = groups == group
        centred = returns[members] - returns[members].mean()
        if np.ptp(returns[members]) > 0:
            advantages[members] = centred / (returns[members].std() + EPSILON) if std else centred
    return advantages.astype(np.float32)
