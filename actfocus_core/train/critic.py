"""The critic of PPO: a separate model with the policy's architecture and a scalar head."""

from __future__ import annotations

import copy

import torch

from actfocus_core.policy import Policy
from actfocus_core.train.batch import MicroBatch


class Critic(torch.nn.Module):
    """Predicts the value of the dialogue before each response token.

    The backbone is a copy of the policy's, with the same trainable parameters. The head is initialised with zeros, so all
    values are 0 before training.
    """

    def __init__(self, policy: Policy):
        super().__init__()
        self.backbone = copy.deepcopy(policy.model.get_decoder())
        width = policy.model.get_output_embeddings().weight.shape[1]
        self.head = torch.nn.Linear(width, 1, device=policy.device)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def values(self, micro: MicroBatch) -> torch.Tensor:
        """The values, float32 [n] in units of the return, at the positions from which the response tokens are predicted."""
        hidden = self.backbone(input_ids=micro.ids[:, :-1], use_cache=False).last_hidden_state
        values: torch.Tensor = self.head(hidden[micro.rows, micro.positions - 1])[:, 0].float()
        return values
