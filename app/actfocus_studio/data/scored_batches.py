"""A step's rollouts as the batch that schemes give credit to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actfocus_core.credit import Batch
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.signals import scored_part
from actfocus_studio.data.cache import LruCache, stamp


@dataclass(frozen=True)
class ScoredBatch:
    """The batch of one step without the rollouts that have no return, and so no advantage.

    If the reference scored a part of the step, the batch is that part.
    """

    batch: Batch
    unscored: int
    """number of rollouts without a return"""
    without_signals: int
    """number of rollouts that the reference did not score while it scored others"""

    @classmethod
    def of(cls, run: Run, step: int, reference: str | None) -> ScoredBatch:
        """Read a step. Raises ActFocusError if no rollout has a return."""
        trajectories = run.trajectories(step, reference)
        part = scored_part(trajectories)
        with_return = [t for t in part if np.isfinite(t.ret)]
        if not with_return:
            raise ActFocusError(f"no rollout of step {step} has a return, so no scheme gives credit")
        return cls(Batch.of(with_return), len(part) - len(with_return), len(trajectories) - len(part))


class ScoredBatches:
    """A cache of recent batches."""

    def __init__(self, size: int = 4):
        self._latest: LruCache[ScoredBatch] = LruCache(size)

    def get(self, run: Run, step: int, reference: str | None) -> ScoredBatch:
        """The batch of a step under a reference; read again when the run's files change."""
        return self._latest.get((reference, stamp(run, [step])), lambda: ScoredBatch.of(run, step, reference))
