"""Prefix sharing in the update: the common prefix of a group's rollouts is computed once per mini-batch.

Under causal attention the keys and values of a prefix do not depend on what follows, so all rollouts that begin with it
share them. The rest of each rollout attends to them, and the gradient that arrives at them is propagated through the
prefix once, after the last micro-batch. Response tokens that are predicted within the prefix take their hidden states
from it. The gradient of the mini-batch is the same up to rounding (a test compares the two).
"""

from __future__ import annotations

import numpy as np
import torch

from actfocus_core.policy.split_model import SplitModel
from actfocus_core.train.batch import MicroBatch, TrainingBatch


class SharedPrefix:
    """Keys, values and hidden states of the shared prefixes of some trajectories, one prefix per distinct prompt.

    ``tokens``: about the number of padded tokens that may be held for the backward pass beyond the prompts themselves.
    """

    def __init__(self, model: SplitModel, batch: TrainingBatch, rows: np.ndarray, tokens: int, device: torch.device):
        self.model = model
        found: dict[tuple[int, ...], list[int]] = {}
        # The last token of a prompt predicts the first of the reply, so it is computed with the reply.
        for i in rows:
            found.setdefault(tuple(batch.trajectories[i].token_ids[: batch.where[i][0] - 1].tolist()), []).append(i)
        longest = max(max(map(len, found)), tokens // len(found))
        prefixes = [_common_prefix(batch, group, len(prompt), longest) for prompt, group in found.items()]
        self.of = {i: k for k, group in enumerate(found.values()) for i in group}
        self.sizes = torch.tensor([len(ids) for ids in prefixes], device=device)
        self.read = {i: len(prefixes[k]) for i, k in self.of.items()}
        """trajectory -> the length of its prefix"""
        ids = torch.zeros(len(prefixes), max(map(len, prefixes)), dtype=torch.long)
        for row, prefix in zip(ids, prefixes):
            row[: len(prefix)] = torch.from_numpy(prefix)
        predicting = np.zeros(ids.shape, dtype=bool)
        for i, k in self.of.items():
            at = batch.where[i] - 1
            predicting[k, at[at < len(prefixes[k])]] = True
        self._places = torch.from_numpy(predicting.cumsum().reshape(ids.shape) - 1).to(device)
        places = torch.from_numpy(predicting).nonzero(as_tuple=True) if predicting.any() else (None, None)
        hidden, states = model.states(ids.to(device), *(p if p is None else p.to(device) for p in places))
        self._outputs = states if hidden is None else [*states, hidden]
        leaves = [output.detach().requires_grad_(output.requires_grad) for output in self._outputs]
        self._states, self._hidden = leaves[: len(states)], leaves[len(states) :]

    @staticmethod
    def worth_it(model: SplitModel, batch: TrainingBatch, rows: np.ndarray) -> bool:
        """Whether trajectories share prefixes, and the model supports it: full attention and no gradient checkpointing.

        Not for a model that deduplicates shared prefixes itself (``SplitModel.shares_prefixes``).
        """
        firsts = [batch.where[i][0] for i in rows if len(batch.where[i])]
        groups = {batch.trajectories[i].group for i in rows}
        return (
            not model.shares_prefixes
            and model.full_attention
            and not model.backbone.training
            and len(groups) < len(rows) == len(firsts)
            and min(firsts) > 1
        )

    def hidden(self, micro: MicroBatch) -> torch.Tensor:
        """[n, d] last hidden states at the positions that predict the response tokens."""
        device = micro.ids.device
        of = torch.tensor([self.of[i] for i in micro.chosen], device=device)
        size, at = self.sizes[of], micro.positions - 1
        within = at < size[micro.rows]
        rows, columns = micro.rows[~within], (at - size[micro.rows])[~within]
        # Tokens to the right of a row's end are arbitrary: no earlier position attends to them.
        places = (size[:, None] + torch.arange(int(columns.max()) + 1, device=device)).clamp(max=micro.ids.shape[1] - 1)
        width = int(size.max())
        after = self.model.hidden_after(
            [states[of, :, :width] for states in self._states], size, micro.ids.gather(1, places), rows, columns
        )
        if not within.any():
            return after
        shared = self._hidden[0].index_select(0, self._places[of[micro.rows[within]], at[within]])
        order = torch.cat([within.nonzero()[:, 0], (~within).nonzero()[:, 0]]).argsort()
        return torch.cat([shared, after]).index_select(0, order)

    def backward(self) -> None:
        """Propagate the gradients that the micro-batches accumulated at the prefixes."""
        leaves = [*self._states, *self._hidden]
        parts = [(output, leaf.grad) for output, leaf in zip(self._outputs, leaves) if leaf.grad is not None]
        torch.autograd.backward([output for output, _ in parts], [gradient for _, gradient in parts])


def _common_prefix(batch: TrainingBatch, group: list[int], prompt: int, longest: int) -> np.ndarray:
    """int64: the longest common prefix of the trajectories of one prompt, at least one token short of each of them."""
    if len(group) > 1:
        size = min(longest, *(int(batch.where[i][-1]) - 1 for i in group))
        ids = np.stack([batch.trajectories[i].token_ids[:size] for i in group])
        differs = (ids != ids[0]).any(axis=0)
        prompt = int(differs.argmax()) if differs.any() else size
    return batch.trajectories[group[0]].token_ids[:prompt].astype(np.int64)
