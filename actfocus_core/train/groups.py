"""The choice of the groups of a step that are trained on. Imports no torch: the studio shows the same choice."""

from __future__ import annotations

import numpy as np

from actfocus_core.trajectory import Trajectory


def filter_groups(trajectories: list[Trajectory], keep_fraction: float) -> list[Trajectory]:
    """The trajectories of the fraction of groups with the largest spread of returns (StarPO-S, arXiv 2504.20073).

    Groups are ranked by the population standard deviation of their rollouts' returns, ties in the order given. At least
    one group is selected, and the order of the trajectories is kept. A selected group without spread stays in the batch:
    its advantages are 0, and its tokens count in the sums of w.
    Agents that are not trained are left out.
    """
    trained = [t for t in trajectories if t.trainable]
    returns: dict[str, dict[str, float]] = {}
    for t in trained:
        returns.setdefault(t.group, {})[t.rollout_key] = t.ret
    ranked = sorted(returns, key=lambda group: -round(_std([*returns[group].values()]), 12))
    selected = set(ranked[: number_selected(len(ranked), keep_fraction)])
    return [t for t in trained if t.group in selected]


def _std(returns: list[float]) -> float:
    """The standard deviation of the returns that are known, 0 where none is."""
    known = np.array(returns)[np.isfinite(returns)]
    return float(np.std(known)) if len(known) else 0.0


def number_selected(groups: int, keep_fraction: float) -> int:
    """The number of groups that ``filter_groups`` selects of so many."""
    return max(1, round(keep_fraction * groups))
