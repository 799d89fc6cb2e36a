"""The result of a replay: a row of numbers per update, and the effect of each update on every token."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from actfocus_core.counterfactual.store import WhatIf
from actfocus_core.counterfactual.walkthrough import ADVANTAGE, AFTER, BEFORE, WEIGHT
from actfocus_core.credit import signal_stats
from actfocus_core.train.learner import Prepared
from actfocus_core.trajectory import RESPONSE_KINDS, Trajectory

FRESH = "a fresh optimiser: this is not an update that happened"
TOLERANCE = 1e-6
"""Largest difference in any parameter or moment to the stored checkpoint at which an update counts as reproduced."""


@dataclass
class UpdateResult:
    """One update that was taken."""

    row: dict[str, Any]
    """its row of the result, all but ``change``"""
    prepared: Prepared
    gradient: torch.Tensor
    """float64 [P], the sum over the mini-batches"""
    moved: torch.Tensor
    """float64 [P], the change of all parameters"""
    after: dict[int, np.ndarray] = field(default_factory=dict)
    """trajectory -> float32 [T] log-probs under the updated policy, as far as they are computed"""


@dataclass(frozen=True)
class ReplayResult:
    """The part of the result that all updates share."""

    request: dict[str, Any]
    facts: dict[str, Any]
    selected: list[Trajectory]
    before: list[np.ndarray]
    """float32 [T] per trajectory: log-probs when the step began"""

    def group(self, look: str | None) -> list[int]:
        """The trajectories of the group that ``look`` is in, else those of the first group."""
        name = next((t.group for t in self.selected if t.id == look), self.selected[0].group)
        return [i for i, t in enumerate(self.selected) if t.group == name]

    def of(self, updates: list[UpdateResult], chosen: Sequence[int], **more: object) -> WhatIf:
        """The result for the ``chosen`` trajectories; ``more``: further fields."""
        result = {
            "updates": [{**u.row, "change": self._change(u, chosen)} for u in updates],
            **self.facts,
            "cosine_gradient": _cosines([u.gradient for u in updates]),
            "cosine_update": _cosines([u.moved for u in updates]),
            "badges": _badges(updates, self.request["fresh"]),
            **more,
        }
        return WhatIf("replay", self.request, result, [self._annotated(i, updates) for i in chosen])

    def _change(self, update: UpdateResult, chosen: Sequence[int]) -> dict[str, Any]:
        """Kind -> sign of the advantage -> number of tokens, mean and mean absolute change of their log-probs."""
        after, before, advantage, kinds = (
            np.concatenate([values[i] for i in chosen])
            for values in (
                update.after,
                self.before,
                update.prepared.training_batch.columns["advantages"],
                [t.kinds for t in self.selected],
            )
        )
        change = (after - before).astype(np.float64)
        signs = {"up": advantage > 0, "down": advantage < 0, "none": advantage == 0}
        return {
            kind.name.lower(): {sign: _mean(change[(kinds == kind) & of]) for sign, of in signs.items()}
            for kind in RESPONSE_KINDS
        }

    def _annotated(self, i: int, updates: list[UpdateResult]) -> Trajectory:
        """A trajectory with the signals named in walkthrough.py."""
        t, columns = self.selected[i], {BEFORE: self.before[i]}
        for u in updates:
            scheme, trained = u.row["scheme"], u.prepared.training_batch.columns
            columns |= {
                f"{AFTER}:{scheme}": u.after[i],
                f"{ADVANTAGE}:{scheme}": trained["advantages"][i],
                f"{WEIGHT}:{scheme}": trained["weights"][i],
            }
        return replace(
            t,
            signals={
                **t.signals,
                **{name: np.where(t.response_mask, values, np.float32(np.nan)) for name, values in columns.items()},
            },
        )


class PartialResult:
    """The result for a few trajectories, delivered as soon as all of ``count`` updates have their log-probs.

    ``deliver`` is called once, on the thread of the last update. Safe to use from several threads.
    """

    def __init__(self, result: ReplayResult, chosen: list[int], count: int, deliver: Callable[[WhatIf], None]):
        self.chosen, self._result, self._deliver = chosen, result, deliver
        self._updates: list[UpdateResult | None] = [None] * count
        self._lock = threading.Lock()

    def add(self, i: int, update: UpdateResult) -> None:
        """Record the ``i``-th update, whose log-probs of the ``chosen`` trajectories are computed."""
        with self._lock:
            self._updates[i] = update
            known = [other for other in self._updates if other is not None]
        if len(known) == len(self._updates):
            self._deliver(self._result.of(known, self.chosen, so_far=len(self.chosen)))


def signal_of(prepared: Prepared) -> dict[str, Any] | None:
    """Name and statistics of the signal that the weights were computed from; None where the scheme reads none."""
    batch, params = prepared.batch, prepared.credit.params
    name = params.get("signal")
    if name is None or not params.get("beta") or not batch.has(name):
        return None
    return {"name": name, **signal_stats(batch.kinds, batch.signals[name])._asdict()}


def _mean(change: np.ndarray) -> dict[str, float | None]:
    return {
        "tokens": len(change),
        "mean": float(change.mean()) if len(change) else None,
        "mean_absolute": float(np.abs(change).mean()) if len(change) else None,
    }


def _cosines(vectors: list[torch.Tensor]) -> list[list[float | None]]:
    lengths = [float(v.norm()) for v in vectors]
    return [
        [float(a @ b) / (m * n) if m and n else None for b, n in zip(vectors, lengths)]
        for a, m in zip(vectors, lengths)
    ]


def _badges(updates: list[UpdateResult], fresh: bool) -> list[str]:
    badges = [FRESH] if fresh else []
    for u in updates:
        if (u.row["reproduced"] or 0.0) > TOLERANCE:
            badges.append(
                f"not the update that happened: it differs from the stored checkpoint by {u.row['reproduced']:.1g}; "
                "another machine or number of threads rounds differently"
            )
    return badges
