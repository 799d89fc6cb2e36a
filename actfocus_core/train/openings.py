"""The opening of a group, read once: its rollouts share every token before the first reply, and often more.

Under causal attention the keys and values of an opening are the same in every rollout that begins
with it. They are computed once a mini-batch; the rest of each rollout attends to them, and the
gradient that arrives at them is carried through the opening once, at the end. Where the replies begin alike
too, what is predicted within the opening is taken from there. The gradient of the mini-batch is the same to
rounding (a test compares the two).
"""

from __future__ import annotations

import numpy as np
import torch

from actfocus_core.policy.split_model import SplitModel
from actfocus_core.train.batch import MicroBatch, TrainingBatch


class SharedOpenings:
    """Keys and values of the openings of some trajectories, one a different prompt, and what they predict.

    ``tokens``: about so many, padded, may be held for the backward pass beyond the prompts themselves.
    """

    def __init__(self, model: SplitModel, batch: TrainingBatch, rows: np.ndarray, tokens: int, device: torch.device):
        self.model = model
        found: dict[tuple[int, ...], list[int]] = {}
        # A prompt's last token predicts the first of the reply: it is read with the reply.
        for i in rows:
            found.setdefault(tuple(batch.trajectories[i].token_ids[: batch.where[i][0] - 1].tolist()), []).append(i)
        longest = max(max(map(len, found)), tokens // len(found))
        openings = [_shared(batch, alike, len(prompt), longest) for prompt, alike in found.items()]
        self.of = {i: k for k, alike in enumerate(found.values()) for i in alike}
        self.sizes = torch.tensor([len(ids) for ids in openings], device=device)
        self.read = {i: len(openings[k]) for i, k in self.of.items()}
        """trajectory -> its first tokens, which are read here"""
        ids = torch.zeros(len(openings), max(map(len, openings)), dtype=torch.long)
        for row, opening in zip(ids, openings):
            row[: len(opening)] = torch.from_numpy(opening)
        predicting = np.zeros(ids.shape, dtype=bool)
        for i, k in self.of.items():
            at = batch.where[i] - 1
            predicting[k, at[at < len(openings[k])]] = True
        self._places = torch.from_numpy(predicting.cumsum().reshape(ids.shape) - 1).to(device)
        places = torch.from_numpy(predicting).nonzero(as_tuple=True) if predicting.any() else (None, None)
        hidden, states = model.states(ids.to(device), *(p if p is None else p.to(device) for p in places))
        self._made = states if hidden is None else [*states, hidden]
        leaves = [made.detach().requires_grad_(made.requires_grad) for made in self._made]
        self._states, self._hidden = leaves[: len(states)], leaves[len(states) :]

    @staticmethod
    def worth_it(model: SplitModel, batch: TrainingBatch, rows: np.ndarray) -> bool:
        """Whether openings are shared, and the model can continue them: full attention, activations kept.

        A model that shares what neighbours begin alike with by itself needs none.
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
        """[n, d] last hidden states where the response tokens are predicted."""
        device = micro.ids.device
        of = torch.tensor([self.of[i] for i in micro.chosen], device=device)
        size, at = self.sizes[of], micro.positions - 1
        within = at < size[micro.rows]
        rows, columns = micro.rows[~within], (at - size[micro.rows])[~within]
        # Right of a row's end lies whatever is there: nothing before it looks at it.
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
        """Carry on what the micro-batches' backward passes left at the openings."""
        leaves = [*self._states, *self._hidden]
        parts = [(made, leaf.grad) for made, leaf in zip(self._made, leaves) if leaf.grad is not None]
        torch.autograd.backward([made for made, _ in parts], [gradient for _, gradient in parts])


def _shared(batch: TrainingBatch, alike: list[int], prompt: int, longest: int) -> np.ndarray:
    """int64: the tokens that these trajectories of one prompt begin with; each keeps one for itself at least."""
    if len(alike) > 1:
        size = min(longest, *(int(batch.where[i][-1]) - 1 for i in alike))
        ids = np.stack([batch.trajectories[i].token_ids[:size] for i in alike])
        other = (ids != ids[0]).any(axis=0)
        prompt = int(other.argmax()) if other.any() else size
    return batch.trajectories[alike[0]].token_ids[:prompt].astype(np.int64)
