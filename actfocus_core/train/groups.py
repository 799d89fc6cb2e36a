"""Selection of the groups of a step that are trained on. Does not import torch, since the studio uses it too."""

from __future__ import annotations

import numpy as np

from actfocus_core.trajectory import Trajectory


def filter_groups(trajectories: list[Trajectory], keep_fraction: float) -> list[Trajectory]:
    """The trajectories of the groups with the most diverse returns (StarPO-S, arXiv 2504.20073).

    Groups are ranked by the population standard deviation of their rollouts' returns, with ties in the given order, and the
    first ``keep_fraction`` of them are selected, at least one. The order of the trajectories is kept. A selected group with
    equal returns stays in the batch: its advantages are 0, and its tokens count in the sums of w. Agents that are not trained
    are excluded.
    """
    trained = [t for t in trajectories if t.trainable]
    returns: dict[str, dict[str, float]] = {}
    for t in trained:
        returns.setdefault(t.group, {})[t.rollout_key] = t.ret
    ranked = sorted(returns, key=lambda group: -round(_std([*returns[group].values()]), 12))
    selected = set(ranked[: number_selected(len(ranked), keep_fraction)])
    return [t for t in trained if t.group in selected]


def _std(returns: list[float]) -> float:
    """The standard deviation of the known returns; 0 if none is known."""
    known = np.array(returns)[np.isfinite(returns)]
    return float(np.std(known)) if len(known) else 0.0


def number_selected(groups: int, keep_fraction: float) -> int:
    """The number of groups that ``filter_groups`` selects out of ``groups``."""
    return max(1, round(keep_fraction * groups))
