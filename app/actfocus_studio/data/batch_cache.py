"""Constants of a batch from which a page computes gradient shares for any alpha and beta.

The batch is one training step. For any alpha and beta the gradient mass by kind and the
effective number of tokens follow in closed form from sums that do not depend on them:
with w = 1 + beta * s on actions, sum w = n + beta * S1 and sum w^2 = n + 2 beta S1 + beta^2 S2,
and the same with |A| under every sum. So the page can follow a slider without the tokens of
the batch and without the server.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from actfocus_core.advantages import grpo_advantages
from actfocus_core.credit.weights import EPSILON, sigmoid
from actfocus_core.runs import Run
from actfocus_core.signals import SIGNALS, scored_part, signal_values
from actfocus_core.trajectory import RESPONSE_KINDS, TokenKind, Trajectory
from actfocus_studio.data.cache import LruCache, stamp
from actfocus_studio.data.schema import BatchSums, Kinds, KindSums, Scopes, SigmoidSums, Statistics
from actfocus_studio.data.view import SCOPES


@dataclass(frozen=True)
class ScopeSums:
    """One signal standardised within one scope."""

    mean: np.ndarray
    """float64 [cells]: mu of each cell, a cell being the batch, a group or a trajectory"""
    std: np.ndarray
    """float64 [cells]"""
    count: np.ndarray
    """int64 [cells], action tokens"""
    sums: SigmoidSums


@dataclass(frozen=True)
class BatchConstants:
    """The numbers of a batch that do not depend on the settings."""

    size: int
    advantages: dict[str, float | None]
    """trajectory id -> GRPO advantage; None where the rollout was never scored, or is not trained"""
    kinds: dict[str, KindSums]
    """kind -> n tokens, sum of |A|, sum of A^2"""
    cells: dict[str, dict[str, int]]
    """scope -> trajectory id -> its cell"""
    scopes: dict[str, dict[str, ScopeSums] | None]
    """signal -> scope -> sums; None where an action token lacks the signal"""
    ranges: dict[str, tuple[float, float] | None]
    """signal -> 1st and 99th percentile over the response tokens"""
    scored: BatchConstants | None = None
    """Those of the trajectories that the reference scored; None where these are all, or none"""

    def of(self, trajectory: Trajectory) -> BatchSums:
        """The constants as the page of this trajectory needs them.

        If the reference scored a part of the batch, they are those of this part for its trajectories.
        """
        if self.scored and trajectory.id in self.scored.advantages:
            return self.scored.of(trajectory).model_copy(update={"unscored": self.size - self.scored.size})
        signals = {
            name: scopes
            and Scopes(**{scope: self._scope(scope, sums, trajectory.id) for scope, sums in scopes.items()})
            for name, scopes in self.scopes.items()
        }
        top = max((abs(a) for a in self.advantages.values() if a is not None), default=0.0)
        return BatchSums(
            trajectories=self.size,
            unscored=self.size - self.scored.size if self.scored else 0,
            kinds=Kinds(**self.kinds),
            signals=signals,
            ranges=self.ranges,
            advantage=self.advantages[trajectory.id],
            advantage_max=top,
        )

    def _scope(self, scope: str, sums: ScopeSums, id: str) -> Statistics:
        cell = self.cells[scope][id]
        return Statistics(
            mu=float(sums.mean[cell]), sigma=float(sums.std[cell]), count=int(sums.count[cell]), sums=sums.sums
        )


class BatchCache:
    """A cache of the constants of recent steps; reading a whole step takes half a second."""

    def __init__(self, size: int = 32):
        self._latest: LruCache[BatchConstants] = LruCache(size)

    def get(self, run: Run, step: int, reference: str | None) -> BatchConstants:
        """The constants of a step under a reference; recomputed when the run's files change."""
        return self._latest.get((reference, stamp(run, [step])), lambda: constants(run.trajectories(step, reference)))


def _advantages(trajectories: list[Trajectory]) -> np.ndarray:
    """GRPO advantages among the rollouts that were scored; another trainer may have left some out, which get 0."""
    returns = np.array([t.ret for t in trajectories])
    scored = np.isfinite(returns) & np.array([t.trainable for t in trajectories], bool)
    advantages = np.zeros(len(returns), np.float32)
    counted = [t for t, there in zip(trajectories, scored) if there]
    advantages[scored] = grpo_advantages(
        returns[scored], [t.group for t in counted], rollouts=[t.rollout_key for t in counted]
    )
    return advantages


def constants(trajectories: list[Trajectory]) -> BatchConstants:
    """The constants of a batch, and those of the part of it that the reference scored."""
    advantages, part = _advantages(trajectories), scored_part(trajectories)
    whole = _constants(trajectories, advantages)
    if len(part) == len(trajectories):
        return whole
    ids = {t.id for t in part}
    # Advantages are those of whole groups, whatever is scored of them.
    return replace(whole, scored=_constants(part, advantages[[t.id in ids for t in trajectories]]))


def _constants(trajectories: list[Trajectory], advantages: np.ndarray) -> BatchConstants:
    lengths = [len(t) for t in trajectories]
    kinds = np.concatenate([t.kinds_in_loss for t in trajectories])
    index = np.repeat(np.arange(len(trajectories)), lengths)
    size_A = np.abs(advantages.astype(np.float64))[index]
    groups = {name: i for i, name in enumerate(dict.fromkeys(t.group for t in trajectories))}
    cells = {
        "batch": dict.fromkeys((t.id for t in trajectories), 0),
        "group": {t.id: groups[t.group] for t in trajectories},
        "trajectory": {t.id: i for i, t in enumerate(trajectories)},
    }
    signals = {
        name: np.concatenate([signal_values(t, name) for t in trajectories]).astype(np.float64) for name in SIGNALS
    }
    action, response = kinds == TokenKind.ACTION, kinds >= TokenKind.REASONING
    cell_of = {
        scope: (np.array([cells[scope][t.id] for t in trajectories])[index][action], max(cells[scope].values()) + 1)
        for scope in SCOPES
    }
    return BatchConstants(
        len(trajectories),
        {t.id: float(a) if t.trainable and np.isfinite(t.ret) else None for t, a in zip(trajectories, advantages)},
        {kind.name.lower(): _counts(size_A[kinds == kind]) for kind in RESPONSE_KINDS},
        cells,
        {name: _scopes(values[action], size_A[action], cell_of) for name, values in signals.items()},
        {name: _range(values[response]) for name, values in signals.items()},
    )


def _counts(size_A: np.ndarray) -> KindSums:
    return KindSums(n=len(size_A), a1=float(size_A.sum()), a2=float((size_A**2).sum()))


def _scopes(values: np.ndarray, size_A: np.ndarray, cell_of: dict) -> dict | None:
    if not np.isfinite(values).all():
        return None
    return {scope: _sums(values, size_A, *cell) for scope, cell in cell_of.items()}


def _sums(values: np.ndarray, size_A: np.ndarray, cell: np.ndarray, cells: int) -> ScopeSums:
    """mu and sigma of every cell, as by ``signal_stats``, and the resulting sums."""
    count = np.bincount(cell, minlength=cells)
    n = np.maximum(count, 1)
    mean = np.bincount(cell, values, cells) / n
    variance = np.bincount(cell, (values - mean[cell]) ** 2, cells) / n
    std = np.where(count > 0, np.sqrt(variance + EPSILON), 1.0)
    s = sigmoid((values - mean[cell]) / std[cell])
    return ScopeSums(
        mean,
        std,
        count,
        SigmoidSums(
            s1=float(s.sum()),
            s2=float((s**2).sum()),
            a1=float((size_A * s).sum()),
            b1=float((size_A**2 * s).sum()),
            b2=float((size_A**2 * s**2).sum()),
        ),
    )


def _range(values: np.ndarray) -> tuple[float, float] | None:
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = np.percentile(values, [1, 99])
    return float(low), float(high)
