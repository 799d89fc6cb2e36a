"""A prefix tree over token rows; every prefix shared by adjacent rows is stored once.

Under causal attention the hidden state of a token depends only on the tokens up to it, so rollouts of one prompt, and
replies with the same first tokens, share the hidden states of their common prefix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Segment:
    """The nodes that one row adds to the tree."""

    nodes: slice
    path: list[tuple[int, int]]
    """[first, end) of each run of nodes from the row's first token to its last; the nodes it adds come last"""
    prefix_length: int
    """number of tokens shared with earlier rows"""

    def mask(self) -> torch.Tensor | None:
        """bool [n, L]: which of the row's L tokens each of the n added tokens attends to; None without a prefix."""
        n = self.nodes.stop - self.nodes.start
        if not self.prefix_length:
            return None
        return torch.ones(n, self.prefix_length + n, dtype=torch.bool).tril(self.prefix_length)


class PrefixTree:
    """The tree of int64 [B, T] ids; row b has ``lengths[b]`` tokens.

    A row shares only its common prefix with the previous row, so rows should be sorted by their ids.
    """

    def __init__(self, ids: np.ndarray, lengths: np.ndarray):
        self.node_of = np.zeros(ids.shape, dtype=np.int64)
        """int64 [B, T]: the node of every token"""
        self.segments: list[Segment] = []
        new_ids, positions = [], []
        size = 0
        for b, length in enumerate(lengths):
            shared = common_prefix_length(ids[b - 1, : lengths[b - 1]], ids[b, :length]) if b else 0
            nodes = slice(size, size + length - shared)
            self.node_of[b, :shared] = self.node_of[b - 1, :shared]
            self.node_of[b, shared:length] = np.arange(nodes.start, nodes.stop)
            if shared < length:
                self.segments.append(Segment(nodes, _runs(self.node_of[b, :length]), shared))
            new_ids.append(ids[b, shared:length])
            positions.append(np.arange(shared, length))
            size = nodes.stop
        self.ids = torch.from_numpy(np.concatenate(new_ids))
        """int64 [N], the token of each node"""
        self.positions = torch.from_numpy(np.concatenate(positions))
        """int64 [N], the position of each node in its rows"""


def batches_by_prefix(rows: Sequence[np.ndarray], tokens: int) -> Iterator[list[int]]:
    """Indices of ``rows`` in lexicographic order of their ids, in batches of about ``tokens`` tree nodes.

    A row counts as at least an eighth of its tokens: its predictions take memory however few nodes it adds.
    """
    batch: list[int] = []
    nodes = 0
    for i in sorted(range(len(rows)), key=lambda i: rows[i].tolist()):
        shared = common_prefix_length(rows[batch[-1]], rows[i]) if batch else 0
        added = max(len(rows[i]) - shared, len(rows[i]) // 8)
        if batch and nodes + added > tokens:
            yield batch
            batch, nodes, added = [], 0, len(rows[i])
        batch.append(i)
        nodes += added
    if batch:
        yield batch


def common_prefix_length(a: np.ndarray, b: np.ndarray) -> int:
    """The number of leading tokens that two rows share."""
    n = min(len(a), len(b))
    differs = a[:n] != b[:n]
    return int(differs.argmax()) if differs.any() else n


def _runs(nodes: np.ndarray) -> list[tuple[int, int]]:
    """[first, end) of each maximal run of consecutive numbers."""
    ends = np.flatnonzero(np.diff(nodes) != 1)
    return list(zip(nodes[[0, *(ends + 1)]].tolist(), (nodes[[*ends, -1]] + 1).tolist()))
