"""Which groups of a step are trained on. Without torch: the studio shows the same choice."""

from __future__ import annotations

import numpy as np

from actfocus_core.trajectory import Trajectory


def keep_groups(trajectories: list[Trajectory], share: float) -> list[Trajectory]:
    """The trajectories of the share of groups whose returns spread most (StarPO-S, arXiv 2504.20073).

    Groups are ranked by the population standard deviation of their returns, ties in the order
    given; at least one is kept, and the kept ones stay in their order. A group without spread that
    is kept stays in the batch: its advantages are 0, and its tokens count in the sums of w.
    """
    returns: dict[str, list[float]] = {}
    for t in trajectories:
        returns.setdefault(t.group, []).append(t.ret)
    ranked = sorted(returns, key=lambda group: -round(float(np.std(returns[group])), 12))
    kept = set(ranked[:max(1, round(share * len(ranked)))])
    return [t for t in trajectories if t.group in kept]
