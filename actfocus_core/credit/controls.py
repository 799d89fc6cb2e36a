"""Null controls: the credit of a scheme, assigned to other tokens.

If the scheme outperforms ``shuffle`` and ``shuffle`` performs like uniform credit, the assignment to tokens within a kind
matters. If scheme and ``shuffle`` perform alike and outperform uniform credit, only the total per kind matters.
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
    "reversed": "The order of weights is reversed within each token kind: the largest is exchanged with the smallest, and so on.",
}


class Control(Scheme):
    """A null control of a scheme. Its parameters are those of the scheme, and ``control_seed``.

    Products of weight and keep are permuted together. Advantages are permuted within their trajectory, so its mean is
    unchanged. The permutation depends on the seed, the trajectory's id and the token's position, not on the order of the
    batch.
    """

    read = "ours"

    def __init__(self, kind: str, scheme: Scheme):
        self.kind, self.scheme = kind, scheme
        self.name = f"{kind}:{scheme.name}"
        self.title = f"{scheme.title}, {kind}"
        self.description = CONTROLS[kind]
        self.source = f"null control of {scheme.title}"
        self.cost, self.needs, self.unit, self.evidence = scheme.cost, scheme.needs, scheme.unit, "proxy"
        self.parameters = {**scheme.parameters, "control_seed": Parameter(0, 0, text="seed of the permutation")}

    def required(self, p: dict[str, Any]) -> tuple[str, ...]:
        return self.scheme.required(p)

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        real = self.scheme.credit(batch, {k: v for k, v in p.items() if k != "control_seed"})
        where = np.flatnonzero(batch.response)
        trajectory, kind = batch.index[where], batch.kinds[where].astype(np.int64)
        cell = trajectory * len(TokenKind) + kind
        weight, advantage = (real.keep * real.weight)[where], real.advantage[where]
        if self.kind == "reversed":
            weight, advantage = reverse_within(weight, kind), reverse_within(advantage, cell)
        elif self.kind == "shuffle":
            weight, advantage = permute_within(cell, self._keys(batch, p["control_seed"], 0), weight, advantage)
        else:
            weight = permute_sorted(weight, self._keys(batch, p["control_seed"], 0))
            [advantage] = permute_within(trajectory, self._keys(batch, p["control_seed"], 1), advantage)
        advantages, weights = (np.zeros(len(batch.kinds), np.float32) for _ in range(2))
        advantages[where], weights[where] = advantage, weight
        keep = batch.response.astype(np.float32)
        return replace(real, advantage=advantages, weight=weights, keep=keep, clip_scale=np.ones_like(keep), params=p)

    def _keys(self, batch: Batch, seed: int, stream: int) -> np.ndarray:
        """A random number in [0, 1) for every response token."""
        counts = np.bincount(batch.index[batch.response], minlength=len(batch.ids))
        return np.concatenate(
            [np.random.default_rng([int(seed), stream, *name.encode()]).random(n) for name, n in zip(batch.ids, counts)]
        )


def permute_within(cell: np.ndarray, key: np.ndarray, *columns: np.ndarray) -> list[np.ndarray]:
    """Apply the same permutation within each cell to all columns: the first goes where ``key``, in [0, 1), is smallest."""
    to = np.argsort(cell + key)
    source = np.argsort(cell.astype(np.min_scalar_type(cell.max(initial=0))), kind="stable")
    out = [np.empty_like(values) for values in columns]
    for column, values in zip(out, columns):
        column[to] = values[source]
    return out


def permute_sorted(values: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Permute values so that their ranks follow ``key``; the result does not depend on their original order."""
    out = np.empty_like(values)
    out[np.argsort(key)] = np.sort(values)
    return out


def reverse_within(values: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Reverse the ranks of the values within each cell; equal values get the mean of the values that replace them."""
    values = rounded(values.astype(np.float64))
    order = np.argsort(values)
    # NumPy's stable sort of 16-bit integers is a radix sort, which is linear.
    order = order[np.argsort(cell[order].astype(np.min_scalar_type(cell.max(initial=0))), kind="stable")]
    first, count = (x[cell[order]] for x in (np.cumsum(np.bincount(cell)) - np.bincount(cell), np.bincount(cell)))
    mirror = order[2 * first + count - 1 - np.arange(len(order))]
    tie = np.zeros(len(values), np.int64)
    tie[1:] = np.cumsum((np.diff(values[order]) != 0) | (np.diff(cell[order]) != 0))
    mean = np.bincount(tie, values[mirror]) / np.maximum(np.bincount(tie), 1)
    out = np.empty_like(values)
    out[order] = mean[tie]
    return out
