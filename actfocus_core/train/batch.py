"""The selected trajectories as tensors: random mini-batches, and micro-batches of similar length.

A mini-batch is what one optimiser step sees. A micro-batch is what goes through the model at once: it decides memory and
speed and nothing else, since every loss is a sum over tokens with a normaliser that belongs to the mini-batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    """A few trajectories of similar length, padded on the right, and their n response tokens."""

    chosen: np.ndarray
    """int64 [B], which trajectories of the batch"""
    ids: torch.Tensor
    """int64 [B, T]"""
    rows: torch.Tensor
    """int64 [n], the trajectory of a response token among the B"""
    positions: torch.Tensor
    """int64 [n], where it stands in its row; its prediction comes from the position before"""
    columns: dict[str, torch.Tensor]
    """name -> [n], what the update knows of every response token"""

    @property
    def targets(self) -> torch.Tensor:
        """int64 [n], the sampled tokens."""
        return self.ids[self.rows, self.positions]

    def __len__(self) -> int:
        return len(self.rows)


class TrainingBatch:
    """Trajectories with columns of numbers, one a token of the flat layout of ``credit.Batch``."""

    def __init__(self, trajectories: list[Trajectory], columns: dict[str, np.ndarray]):
        """``columns``: name -> [N], N the number of all tokens, one trajectory after another."""
        self.trajectories = trajectories
        ends = np.cumsum([len(t) for t in trajectories])[:-1]
        self.columns = {name: np.split(values, ends) for name, values in columns.items()}
        self.where = [np.flatnonzero(t.loss_mask) for t in trajectories]
        """which tokens of a trajectory are in the loss: its response tokens"""

    def total(self, name: str) -> np.ndarray:
        """float64 [n]: the sum of a column over the response tokens of each trajectory."""
        return np.array([v[w].sum(dtype=np.float64) for v, w in zip(self.columns[name], self.where)])

    def tokens(self, rows: np.ndarray) -> int:
        """Response tokens of these trajectories."""
        return sum(len(self.where[i]) for i in rows)

    def without_gradient(self) -> np.ndarray:
        """bool [n]: every token's weight or advantage is 0, so the policy loss has no gradient here."""
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
        read: Mapping[int, int] | None = None,
        shared: bool = False,
    ) -> Iterator[MicroBatch]:
        """These trajectories, sorted by what is read of them, about ``tokens`` padded tokens at a time.

        ``shared``: for a model that reads once what neighbours begin alike with (``SplitModel.shares_prefixes``): sorted by their tokens
        instead, and counted without padding and without what is shared. ``read``: trajectory -> its first tokens that are
        read elsewhere; they count, for their keys are held here too. On a CPU, where the next is so much longer that the
        others would be padded with more than PADDING tokens, they go alone.
        """
        padding = PADDING if device.type == "cpu" else tokens
        written = [i for i in rows if len(self.where[i])]
        if shared:
            # The last response token is predicted, never read.
            read_of = [self.trajectories[i].token_ids[: self.where[i][-1]] for i in written]
            yield from (
                self._micro([written[k] for k in chosen], device) for chosen in batches_by_prefix(read_of, tokens)
            )
            return
        # The last response token is predicted, never read: nothing from there on is fed.
        size = {i: int(self.where[i][-1]) + 1 for i in written}
        own = {i: size[i] - read[i] for i in written} if read else size
        chosen: list[int] = []
        for i in sorted(written, key=own.__getitem__):
            longest = max(size[j] for j in [*chosen, i])
            if chosen and (longest * (len(chosen) + 1) > tokens or (own[i] - own[chosen[-1]]) * len(chosen) > padding):
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
    """The indices 0 .. count - 1 in random order, in equal parts (to one) of at most ``size``.

    The order is a function of seed, step and epoch alone: there is no generator to store.
    """
    order = np.random.default_rng(stable_seed("minibatches", seed, step, epoch)).permutation(count)
    return np.array_split(order, -(-count // size))
