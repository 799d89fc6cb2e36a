"""Advantages from returns (method.md section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from actfocus_core.errors import ActFocusError

EPSILON = 1e-6


def grpo_advantages(
    returns: np.ndarray, groups: Sequence[str], std: bool = True, rollouts: Sequence[str] | None = None
) -> np.ndarray:
    """A = (R - mean_group R) / (std_group R + 1e-6), once a rollout.

    ``returns``: [n]; ``groups``: n prompt names. ``std=False`` leaves the division out (Dr.GRPO).
    ``rollouts``: n names; rows of one group and one name are one rollout: it counts once, with the return of its last
    row, and all of them get its advantage. None: every row is a rollout.
    Returns float32 [n]; a group whose returns are all equal gives exactly 0. Population standard
    deviation. Raises ActFocusError where the lengths differ.
    """
    returns = np.asarray(returns, np.float64)
    if len(groups) != len(returns):
        raise ActFocusError(f"{len(groups)} groups for {len(returns)} returns; they must be as many")
    last = last_of_rollout(groups, rollouts)
    returns, counted = returns[last], last == np.arange(len(last))
    advantages = np.zeros(len(returns))
    names = np.asarray(groups)
    for group in dict.fromkeys(names.tolist()):
        members = names == group
        once = returns[members & counted]
        centred = returns[members] - once.mean()
        if np.ptp(once) > 0:
            advantages[members] = centred / (once.std() + EPSILON) if std else centred
    return advantages.astype(np.float32)


def last_of_rollout(groups: Sequence[str], rollouts: Sequence[str] | None) -> npt.NDArray[np.int64]:
    """int64 [n]: for every row the last row of its rollout, the one that counts in statistics of its group.

    ``groups``, ``rollouts``: as for ``grpo_advantages``. Raises ActFocusError where the lengths differ.
    """
    if rollouts is None:
        return np.arange(len(groups))
    if len(rollouts) != len(groups):
        raise ActFocusError(f"{len(rollouts)} rollouts for {len(groups)} groups; they must be as many")
    keys = list(zip(groups, rollouts))
    last = {key: row for row, key in enumerate(keys)}
    return np.array([last[key] for key in keys], np.int64)


def gae(rewards: np.ndarray, values: np.ndarray, gamma: float = 1.0, lam: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Generalised advantage estimation over one trajectory's response tokens, in order.

    ``rewards``: [n], the return at the last token and 0 before (or paid where it was earned);
    ``values``: [n], the critic's value before each token. The episode ends after the last token:
    nothing is bootstrapped. Returns advantages and the critic's targets (the return-to-go at
    lam = 1), float32 [n] each. Raises ActFocusError where the lengths differ or gamma or lam is
    outside [0, 1]. Source: arXiv 1506.02438; gamma = lam = 1 in the paper.
    """
    rewards, values = np.asarray(rewards, np.float64), np.asarray(values, np.float64)
    if rewards.shape != values.shape:
        raise ActFocusError(f"{rewards.shape} rewards for {values.shape} values; they must be as many")
    if not (0 <= gamma <= 1 and 0 <= lam <= 1):
        raise ActFocusError(f"gamma={gamma}, lam={lam}: must lie in [0, 1]")
    deltas = rewards + gamma * np.append(values[1:], 0.0) - values
    advantages, running = np.zeros_like(deltas), 0.0
    for t in range(len(deltas) - 1, -1, -1):
        running = deltas[t] + gamma * lam * running
        advantages[t] = running
    return advantages.astype(np.float32), (advantages + values).astype(np.float32)
