"""Rows of tokens as a forest: what rows begin alike with stands in it once.

Under causal attention a token's states depend on what is before it and on nothing else, so rollouts of one
prompt, and replies that begin alike, share the states of all that they have in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Branch:
    """What a row adds to the forest."""

    own: slice
    """its nodes"""
    path: list[tuple[int, int]]
    """first and end of the runs of nodes from the row's first token to its last, its own among them"""
    before: int
    """tokens of the row that are others' nodes"""


class Forest:
    """Of int64 [B, T] ids, the first ``lengths`` [B] of every row.

    A row shares what it has in common with the row before it, so rows that begin alike should be neighbours
    (sorted by their ids they share all they can).
    """

    def __init__(self, ids: np.ndarray, lengths: np.ndarray):
        self.place = np.zeros(ids.shape, dtype=np.int64)
        """int64 [B, T]: the node of every token"""
        self.branches: list[Branch] = []
        nodes, positions = [], []
        size = 0
        for b, length in enumerate(lengths):
            before = common(ids[b - 1, : lengths[b - 1]], ids[b, :length]) if b else 0
            self.place[b, :before] = self.place[b - 1, :before]
            self.place[b, before:length] = np.arange(size, size + length - before)
            if before < length:
                self.branches.append(Branch(slice(size, size + length - before), _runs(self.place[b, :length]), before))
            nodes.append(ids[b, before:length])
            positions.append(np.arange(before, length))
            size += length - before
        self.ids = torch.from_numpy(np.concatenate(nodes))
        """int64 [N], a node each"""
        self.positions = torch.from_numpy(np.concatenate(positions))
        """int64 [N], where it stands in its rows"""


def alike(rows: Sequence[np.ndarray], tokens: int) -> Iterator[list[int]]:
    """Indices of rows of ids, those that begin alike beside each other, as many at a time as make about ``tokens`` nodes.

    A row counts with an eighth of its tokens at least: what is predicted of it is held, however little it adds.
    """
    chosen: list[int] = []
    held = 0
    for i in sorted(range(len(rows)), key=lambda i: rows[i].tolist()):
        own = max(len(rows[i]) - (common(rows[chosen[-1]], rows[i]) if chosen else 0), len(rows[i]) // 8)
        if chosen and held + own > tokens:
            yield chosen
            chosen, held, own = [], 0, len(rows[i])
        chosen.append(i)
        held += own
    if chosen:
        yield chosen


def common(a: np.ndarray, b: np.ndarray) -> int:
    """How many tokens two rows begin alike with."""
    n = min(len(a), len(b))
    other = a[:n] != b[:n]
    return int(other.argmax()) if other.any() else n


def _runs(place: np.ndarray) -> list[tuple[int, int]]:
    """First and end of what is consecutive."""
    ends = np.flatnonzero(np.diff(place) != 1)
    return list(zip(place[[0, *(ends + 1)]].tolist(), (place[[*ends, -1]] + 1).tolist()))
