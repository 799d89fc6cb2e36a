"""The opening of a group, read once: its rollouts share every token before the first reply.

Under causal attention the keys and values of an opening are the same in every rollout that begins
with it. They are computed once a mini-batch; the rest of each rollout attends to them, and the
gradient that arrives at them is carried through the opening once, at the end. The gradient of the
mini-batch is the same to rounding (a test compares the two).
"""

from __future__ import annotations

import numpy as np
import torch

from actfocus_core.policy.logits import SplitModel
from actfocus_core.train.batch import MicroBatch, TrainingBatch


class SharedOpenings:
    """Keys and values of the openings of some trajectories, one a different opening."""

    def __init__(self, model: SplitModel, batch: TrainingBatch, rows: np.ndarray, device: torch.device):
        self.model = model
        found: dict[tuple[int, ...], int] = {}
        # An opening's last token predicts the first of the reply: it is read with the reply.
        self.of = {i: found.setdefault(tuple(batch.trajectories[i].token_ids[:batch.where[i][0] - 1].tolist()), len(found))
                   for i in rows}
        self.sizes = torch.tensor([len(ids) for ids in found], device=device)
        ids = torch.zeros(len(found), max(map(len, found)), dtype=torch.long)
        for row, opening in zip(ids, found):
            row[:len(opening)] = torch.tensor(opening)
        self._made = model.states(ids.to(device))
        self._leaves = [states.detach().requires_grad_(states.requires_grad) for states in self._made]

    @staticmethod
    def worth_it(model: SplitModel, batch: TrainingBatch, rows: np.ndarray) -> bool:
        """Whether openings are shared, and the model can continue them: full attention, activations kept."""
        firsts = [batch.where[i][0] for i in rows if len(batch.where[i])]
        groups = {batch.trajectories[i].group for i in rows}
        return model.full_attention and not model.backbone.training and len(groups) < len(rows) == len(firsts) \
            and min(firsts) > 1

    def hidden(self, micro: MicroBatch) -> torch.Tensor:
        """[n, d] last hidden states where the response tokens are predicted."""
        device = micro.ids.device
        of = torch.tensor([self.of[i] for i in micro.chosen], device=device)
        size = self.sizes[of]
        length = int((micro.positions - size[micro.rows]).max())
        # Right of a row's end lies whatever is there: nothing before it looks at it.
        places = (size[:, None] + torch.arange(length, device=device)).clamp(max=micro.ids.shape[1] - 1)
        return self.model.hidden_after([states[of] for states in self._leaves], size, micro.ids.gather(1, places),
                                       micro.rows, micro.positions - 1 - size[micro.rows])

    def backward(self) -> None:
        """Carry on what the micro-batches' backward passes left at the openings."""
        parts = [(made, leaf.grad) for made, leaf in zip(self._made, self._leaves) if leaf.grad is not None]
        torch.autograd.backward(*map(list, zip(*parts)))
