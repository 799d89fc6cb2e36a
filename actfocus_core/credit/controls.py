"""Null controls: a scheme with its credit moved to the wrong tokens.

Real above ``shuffle`` and ``shuffle`` about uniform: where the credit lies within a kind matters. Real
about ``shuffle`` and both above uniform: only how much each kind gets matters.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from actfocus_core.credit.base import Credit, Parameter, Scheme
from actfocus_core.credit.batch import Batch
from actfocus_core.stats import rounded
from actfocus_core.trajectory import TokenKind

CONTROLS = {
    "shuffle": "Weights and credit are permuted within each token kind of each trajectory.",
    "random": "Weights are permuted over all response tokens of the batch, regardless of kind.",
    "reversed": "Within each kind the token with the largest weight gets the smallest, and so on.",
}


class Control(Scheme):
    """Another scheme under a control; its parameters are the scheme's, and ``control_seed``.

    A weight is moved with its keep; an advantage that differs within a trajectory is moved within
    it, so a trajectory keeps its mean. What a token gets depends on the seed, its
    trajectory's id and its place there, not on the order of the batch.
    """

    read = "ours"

    def __init__(self, kind: str, scheme: Scheme):
        self.kind, self.scheme = kind, scheme
        self.name = f"{kind}:{scheme.name}"
        self.title = f"{scheme.title}, {kind}"
        self.description = CONTROLS[kind]
        self.source = f"null control of {scheme.title}"
        self.cost, self.needs, self.unit, self.evidence = scheme.cost, scheme.needs, scheme.unit, "proxy"
        self.parameters = {**scheme.parameters, "control_seed": Parameter(0, 0, text="of the permutation")}

    def required(self, p: dict[str, Any]) -> tuple[str, ...]:
        return self.scheme.required(p)

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        real = self.scheme.credit(batch, {k: v for k, v in p.items() if k != "control_seed"})
        where = np.flatnonzero(batch.response)
        own, kind = batch.index[where], batch.kinds[where].astype(np.int64)
        cell = own * len(TokenKind) + kind
        mass, advantage = (real.keep * real.weight)[where], real.advantage[where]
        if self.kind == "reversed":
            mass, advantage = reversed_within(mass, kind), reversed_within(advantage, cell)
        elif self.kind == "shuffle":
            mass, advantage = moved(cell, self._keys(batch, p["control_seed"], 0), mass, advantage)
        else:
            mass = dealt(mass, self._keys(batch, p["control_seed"], 0))
            [advantage] = moved(own, self._keys(batch, p["control_seed"], 1), advantage)
        given, weight = (np.zeros(len(batch.kinds), np.float32) for _ in range(2))
        given[where], weight[where] = advantage, mass
        keep = batch.response.astype(np.float32)
        return replace(real, advantage=given, weight=weight, keep=keep, clip_scale=np.ones_like(keep), params=p)

    def _keys(self, batch: Batch, seed: int, stream: int) -> np.ndarray:
        """A random number for every response token."""
        counts = np.bincount(batch.index[batch.response], minlength=len(batch.ids))
        return np.concatenate(
            [np.random.default_rng([int(seed), stream, *name.encode()]).random(n) for name, n in zip(batch.ids, counts)]
        )


def moved(cell: np.ndarray, key: np.ndarray, *columns: np.ndarray) -> list[np.ndarray]:
    """The columns permuted alike within each cell: the first goes where ``key``, in [0, 1), is smallest."""
    to = np.argsort(cell + key)
    source = np.argsort(cell.astype(np.min_scalar_type(cell.max(initial=0))), kind="stable")
    out = [np.empty_like(values) for values in columns]
    for column, values in zip(out, columns):
        column[to] = values[source]
    return out


def dealt(values: np.ndarray, key: np.ndarray) -> np.ndarray:
    """``values`` permuted: the smallest goes where ``key`` is smallest, whatever their order was."""
    out = np.empty_like(values)
    out[np.argsort(key)] = np.sort(values)
    return out


def reversed_within(values: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """The largest of each cell for the smallest, and so on; equal values get the mean of what is theirs."""
    values = rounded(values.astype(np.float64))
    order = np.argsort(values)
    # A stable sort of 16-bit numbers takes linear time.
    order = order[np.argsort(cell[order].astype(np.min_scalar_type(cell.max(initial=0))), kind="stable")]
    first, count = (x[cell[order]] for x in (np.cumsum(np.bincount(cell)) - np.bincount(cell), np.bincount(cell)))
    mirror = order[2 * first + count - 1 - np.arange(len(order))]
    tie = np.zeros(len(values), np.int64)
    tie[1:] = np.cumsum((np.diff(values[order]) != 0) | (np.diff(cell[order]) != 0))
    mean = np.bincount(tie, values[mirror]) / np.maximum(np.bincount(tie), 1)
    out = np.empty_like(values)
    out[order] = mean[tie]
    return out
