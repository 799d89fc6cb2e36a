"""What a replay says: a row of numbers an update, and what it did to every token."""

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
"""In any parameter or moment, against the stored checkpoint."""


@dataclass
class Updated:
    """One update that was taken."""

    row: dict[str, Any]
    """what the answer says of it, all but ``change``"""
    made: Prepared
    gradient: torch.Tensor
    """float64 [P], summed over the mini-batches"""
    moved: torch.Tensor
    """float64 [P], the change of all parameters"""
    after: dict[int, np.ndarray] = field(default_factory=dict)
    """trajectory -> float32 [T] log-probs under the policy it made; those that are known"""


@dataclass(frozen=True)
class Answer:
    """The part of an answer that is the same for all updates."""

    request: dict[str, Any]
    facts: dict[str, Any]
    kept: list[Trajectory]
    before: list[np.ndarray]
    """float32 [T] a trajectory: log-probs when the step began"""

    def group(self, look: str | None) -> list[int]:
        """The trajectories of the group that ``look`` is in, or of the first."""
        wanted = next((t.group for t in self.kept if t.id == look), self.kept[0].group)
        return [i for i, t in enumerate(self.kept) if t.group == wanted]

    def of(self, updates: list[Updated], chosen: Sequence[int], **more: object) -> WhatIf:
        """The answer about the ``chosen`` trajectories; ``more``: further facts."""
        result = {
            "updates": [{**u.row, "change": self._change(u, chosen)} for u in updates],
            **self.facts,
            "cosine_gradient": _cosines([u.gradient for u in updates]),
            "cosine_update": _cosines([u.moved for u in updates]),
            "badges": _badges(updates, self.request["fresh"]),
            **more,
        }
        return WhatIf("replay", self.request, result, [self._annotated(i, updates) for i in chosen])

    def _change(self, update: Updated, chosen: Sequence[int]) -> dict[str, Any]:
        """Kind -> sign of the advantage -> tokens, and the mean and mean absolute change of their log-prob."""
        after, before, advantage, kinds = (
            np.concatenate([values[i] for i in chosen])
            for values in (
                update.after,
                self.before,
                update.made.tokens.columns["advantages"],
                [t.kinds for t in self.kept],
            )
        )
        change = (after - before).astype(np.float64)
        signs = {"up": advantage > 0, "down": advantage < 0, "none": advantage == 0}
        return {
            kind.name.lower(): {sign: _mean(change[(kinds == kind) & of]) for sign, of in signs.items()}
            for kind in RESPONSE_KINDS
        }

    def _annotated(self, i: int, updates: list[Updated]) -> Trajectory:
        t, columns = self.kept[i], {BEFORE: self.before[i]}
        for u in updates:
            scheme, known = u.row["scheme"], u.made.tokens.columns
            columns |= {
                f"{AFTER}:{scheme}": u.after[i],
                f"{ADVANTAGE}:{scheme}": known["advantages"][i],
                f"{WEIGHT}:{scheme}": known["weights"][i],
            }
        return replace(
            t,
            signals={
                **t.signals,
                **{name: np.where(t.response_mask, values, np.float32(np.nan)) for name, values in columns.items()},
            },
        )


class First:
    """The answer about a few trajectories, given when the last of ``count`` updates knows them."""

    def __init__(self, answer: Answer, chosen: list[int], count: int, give: Callable[[WhatIf], None]):
        self.chosen, self._answer, self._give = chosen, answer, give
        self._found: list[Updated | None] = [None] * count
        self._lock = threading.Lock()

    def add(self, i: int, update: Updated) -> None:
        """The ``i``-th update is taken and its log-probs of ``chosen`` are known."""
        with self._lock:
            self._found[i] = update
            known = [found for found in self._found if found is not None]
        if len(known) == len(self._found):
            self._give(self._answer.of(known, self.chosen, so_far=len(self.chosen)))


def signal_of(made: Prepared) -> dict[str, Any] | None:
    """What the weights were made from, where the scheme reads a signal of the action tokens."""
    name = made.credit.params.get("signal")
    if name is None or not made.credit.params.get("beta") or not made.batch.has(name):
        return None
    return {"name": name, **signal_stats(made.batch.kinds, made.batch.signals[name])._asdict()}


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


def _badges(updates: list[Updated], fresh: bool) -> list[str]:
    badges = [FRESH] if fresh else []
    for u in updates:
        if (u.row["reproduced"] or 0.0) > TOLERANCE:
            badges.append(
                f"not the update that happened: it arrives {u.row['reproduced']:.1g} beside the stored checkpoint; "
                "another machine or number of threads rounds differently"
            )
    return badges
