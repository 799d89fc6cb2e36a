"""The critic of PPO: a model of its own on the policy's backbone, with one number a token."""

from __future__ import annotations

import copy

import torch

from actfocus_core.policy import Policy
from actfocus_core.train.batch import MicroBatch


class Critic(torch.nn.Module):
    """The value of the dialogue before each response token.

    It starts as a copy of the policy's backbone, trained where that is, with a head of zeros: every
    value is 0 until it has learned.
    """

    def __init__(self, policy: Policy):
        super().__init__()
        self.backbone = copy.deepcopy(policy.model.get_decoder())
        width = policy.model.get_output_embeddings().weight.shape[1]
        self.head = torch.nn.Linear(width, 1, device=policy.device)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def values(self, micro: MicroBatch) -> torch.Tensor:
        """float32 [n], in units of return: read where the prediction of the token is read."""
        hidden = self.backbone(input_ids=micro.ids[:, :-1], use_cache=False).last_hidden_state
        values: torch.Tensor = self.head(hidden[micro.rows, micro.positions - 1])[:, 0].float()
        return values
