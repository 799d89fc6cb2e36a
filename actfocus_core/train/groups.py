"""Which groups of a step are trained on. Without torch: the studio shows the same choice."""

from __future__ import annotations

import numpy as np

from actfocus_core.trajectory import Trajectory


def keep_groups(trajectories: list[Trajectory], share: float) -> list[Trajectory]:
    """The trajectories of the share of groups whose returns spread most (StarPO-S, arXiv 2504.20073).

    Groups are ranked by the population standard deviation of their rollouts' returns, ties in the order
    given; at least one is kept, and the kept ones stay in their order. A group without spread that
    is kept stays in the batch: its advantages are 0, and its tokens count in the sums of w.
    """
    returns: dict[str, dict[str, float]] = {}
    for t in trajectories:
        returns.setdefault(t.group, {})[t.rollout_key] = t.ret
    ranked = sorted(returns, key=lambda group: -round(float(np.std([*returns[group].values()])), 12))
    kept = set(ranked[: number_kept(len(ranked), share)])
    return [t for t in trajectories if t.group in kept]


def number_kept(groups: int, share: float) -> int:
    """How many of so many groups are kept."""
    return max(1, round(share * groups))
