"""Advantage estimation: group-relative advantages and GAE (method.md section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from actfocus_core.errors import ActFocusError

EPSILON = 1e-6


def grpo_advantages(
    returns: np.ndarray, groups: Sequence[str], std: bool = True, rollouts: Sequence[str] | None = None
) -> np.ndarray:
    """A = (R - mean_group(R)) / (std_group(R) + 1e-6), with the population standard deviation over the rollouts of a group.

    ``returns``: [n]; ``groups``: n prompt names. ``std=False`` omits the division (Dr.GRPO). ``rollouts``: n names; rows with
    the same group and name are one rollout, which counts once, with the return of its last row; all its rows get its
    advantage. None: every row is a rollout. Returns float32 [n], exactly 0 for a group whose returns are all equal. Raises
    ActFocusError if the lengths differ.
    """
    returns = np.asarray(returns, np.float64)
    if len(groups) != len(returns):
        raise ActFocusError(f"{len(groups)} groups for {len(returns)} returns; the numbers must be equal")
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
    """int64 [n]: for every row the last row of its rollout, which represents it in group statistics.

    ``groups``, ``rollouts``: as for ``grpo_advantages``. Raises ActFocusError if the lengths differ.
    """
    if rollouts is None:
        return np.arange(len(groups))
    if len(rollouts) != len(groups):
        raise ActFocusError(f"{len(rollouts)} rollouts for {len(groups)} groups; the numbers must be equal")
    keys = list(zip(groups, rollouts))
    last = {key: row for row, key in enumerate(keys)}
    return np.array([last[key] for key in keys], np.int64)


def gae(
    rewards: np.ndarray,
    values: np.ndarray,
    gamma: float = 1.0,
    lam: float = 1.0,
    sequence: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Generalised advantage estimation over the response tokens of one or more trajectories.

    ``rewards``: [n], for instance the return at the last token and 0 before. ``values``: [n], the critic's value before each
    token. ``sequence``: [n], ascending, the trajectory of each entry; None: one trajectory. Episodes end after their last
    token, without bootstrapping. Returns the advantages and the targets of the critic (the return-to-go for lam = 1), float32
    [n] each. Raises ActFocusError if the lengths differ, or gamma or lam is outside [0, 1]. Source: arXiv 1506.02438;
    gamma = lam = 1 in the paper.
    """
    advantages = gae_float64(rewards, values, gamma, lam, sequence)
    return advantages.astype(np.float32), (advantages + np.asarray(values, np.float64)).astype(np.float32)


def gae_float64(
    rewards: np.ndarray, values: np.ndarray, gamma: float, lam: float, sequence: np.ndarray | None = None
) -> np.ndarray:
    """The advantages of ``gae`` before rounding, float64 [n]."""
    rewards, values = np.asarray(rewards, np.float64), np.asarray(values, np.float64)
    sequence = np.zeros(len(rewards), np.int64) if sequence is None else sequence
    if not rewards.shape == values.shape == sequence.shape:
        raise ActFocusError(
            f"{rewards.shape} rewards for {values.shape} values and {sequence.shape} sequence numbers; "
            "the shapes must be equal"
        )
    if not (0 <= gamma <= 1 and 0 <= lam <= 1):
        raise ActFocusError(f"gamma={gamma}, lam={lam}: must lie in [0, 1]")
    last = np.append(sequence[1:] != sequence[:-1], True)[: len(sequence)]
    following = np.where(last, 0.0, np.append(values[1:], 0.0)[: len(values)])
    advantages: np.ndarray = rewards + gamma * following - values
    if gamma * lam == 0 or not len(advantages):
        return advantages
    # Iterate over all sequences at once, backwards from their ends; the longest are first.
    ends = np.flatnonzero(last)
    sizes = np.diff(ends, prepend=-1)
    order = np.argsort(-sizes, kind="stable")
    ends, sizes = ends[order], sizes[order]
    for back in range(1, int(sizes[0])):
        here = ends[: np.searchsorted(-sizes, -back)] - back
        advantages[here] += gamma * lam * advantages[here + 1]
    return advantages
