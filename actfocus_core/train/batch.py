"""The selected trajectories as tensors: random mini-batches, and micro-batches of similar length.

A mini-batch is what one optimiser step sees. A micro-batch is what goes through the model at once: it decides memory and
speed and nothing else, since every loss is a sum over tokens with a normaliser that belongs to the mini-batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from actfocus_core.envs.base import stable_seed
from actfocus_core.policy.tiny_cpu.prefix_tree import batches_by_prefix
from actfocus_core.trajectory import Trajectory

PADDING = 64
"""Cost of one extra forward pass on a CPU, in tokens. On a GPU large batches matter more than little padding."""


@dataclass(frozen=True)
class MicroBatch:
    """B trajectories of similar length, padded on the right to length T, with n response tokens in total."""

    chosen: np.ndarray
    """int64 [B], indices of the trajectories in the batch"""
    ids: torch.Tensor
    """int64 [B, T]"""
    rows: torch.Tensor
    """int64 [n], the row of each response token"""
    positions: torch.Tensor
    """int64 [n], the position of each response token in its row; it is predicted from the position before"""
    columns: dict[str, torch.Tensor]
    """name -> [n], the columns of the batch at the response tokens"""

    @property
    def targets(self) -> torch.Tensor:
        """int64 [n], the sampled tokens."""
        return self.ids[self.rows, self.positions]

    def __len__(self) -> int:
        return len(self.rows)


class TrainingBatch:
    """Trajectories with columns of numbers per token, in the flat layout of ``credit.Batch``."""

    def __init__(self, trajectories: list[Trajectory], columns: dict[str, np.ndarray]):
        """``columns``: name -> [N], where N counts all tokens of the trajectories, concatenated."""
        self.trajectories = trajectories
        ends = np.cumsum([len(t) for t in trajectories])[:-1]
        self.columns = {name: np.split(values, ends) for name, values in columns.items()}
        self.where = [np.flatnonzero(t.loss_mask) for t in trajectories]
        """the positions of the response tokens (tokens in the loss) of each trajectory"""

    def total(self, name: str) -> np.ndarray:
        """float64 [n]: the sum of a column over the response tokens of each trajectory."""
        return np.array([v[w].sum(dtype=np.float64) for v, w in zip(self.columns[name], self.where)])

    def tokens(self, rows: np.ndarray) -> int:
        """The number of response tokens of the trajectories ``rows``."""
        return sum(len(self.where[i]) for i in rows)

    def without_gradient(self) -> np.ndarray:
        """bool [n]: True for trajectories whose policy loss has no gradient, since every weight or advantage is 0."""
        return np.array(
            [
                not (w[k] * a[k]).any()
                for w, a, k in zip(self.columns["weights"], self.columns["advantages"], self.where)
            ]
        )

    def micro_batches(
        self,
        rows: np.ndarray,
        tokens: int,
        device: torch.device,
        by_prefix: bool = False,
    ) -> Iterator[MicroBatch]:
        """Micro-batches of the trajectories ``rows``, sorted by length, of about ``tokens`` tokens each, including padding.

        On a CPU a micro-batch also ends where the next trajectory would add more than PADDING tokens of padding.
        ``by_prefix``: sort by token ids instead, and count every shared prefix once and no padding; for models with
        ``SplitModel.shares_prefixes``.
        """
        padding = PADDING if device.type == "cpu" else tokens
        nonempty = [i for i in rows if len(self.where[i])]
        if by_prefix:
            # The last response token is predicted and never an input.
            inputs = [self.trajectories[i].token_ids[: self.where[i][-1]] for i in nonempty]
            for batch in batches_by_prefix(inputs, tokens):
                yield self._micro([nonempty[k] for k in batch], device)
            return
        # Tokens after the last response token are not needed.
        size = {i: int(self.where[i][-1]) + 1 for i in nonempty}
        chosen: list[int] = []
        for i in sorted(nonempty, key=size.__getitem__):
            if chosen and (
                size[i] * (len(chosen) + 1) > tokens or (size[i] - size[chosen[-1]]) * len(chosen) > padding
            ):
                yield self._micro(chosen, device)
                chosen = []
            chosen.append(i)
        if chosen:
            yield self._micro(chosen, device)

    def _micro(self, chosen: list[int], device: torch.device) -> MicroBatch:
        where = [self.where[i] for i in chosen]
        ids = torch.zeros(len(chosen), max(int(w[-1]) + 1 for w in where), dtype=torch.long)
        for row, i, w in zip(ids, chosen, where):
            row[: w[-1] + 1] = torch.from_numpy(self.trajectories[i].token_ids[: w[-1] + 1].astype(np.int64))
        rows = torch.from_numpy(np.repeat(np.arange(len(chosen)), [len(w) for w in where]))
        columns = {
            name: torch.from_numpy(np.concatenate([values[i][self.where[i]] for i in chosen])).to(device)
            for name, values in self.columns.items()
        }
        positions = torch.from_numpy(np.concatenate(where))
        return MicroBatch(np.array(chosen), ids.to(device), rows.to(device), positions.to(device), columns)


def minibatches(count: int, size: int, seed: int, step: int, epoch: int) -> list[np.ndarray]:
    """The indices 0 to count - 1 in random order, divided into parts of at most ``size`` that differ by at most one in length.

    The order depends on seed, step and epoch only, so there is no generator state to store.
    """
    order = np.random.default_rng(stable_seed("minibatches", seed, step, epoch)).permutation(count)
    return np.array_split(order, -(-count // size))
