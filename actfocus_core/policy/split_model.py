"""A causal language model split into backbone and output head, so that logits can be computed in chunks."""

from __future__ import annotations

from typing import Any

import torch

from actfocus_core.errors import ActFocusError
from actfocus_core.policy.tiny_cpu import fast_model


class SplitModel:
    """Hidden states of a model, and logits computed from them.

    With a large vocabulary the logits of a whole batch are by far the largest tensor. A caller that needs one number a
    position computes them for a few positions at a time. Raises ActFocusError if backbone and head do not reproduce the
    model's logits (checked on a few tokens).

    ``fast``: allow the float32 forward pass of ``tiny_cpu`` for small models on a CPU. The choice is made once, here:
    add adapters and switch on gradient checkpointing before.
    """

    def __init__(self, model: Any, fast: bool = True):
        self.model = model
        self.fast = fast_model(model) if fast else None
        self.backbone = model.get_decoder()
        self.head = model.get_output_embeddings()
        config = model.config.get_text_config()
        self.softcap = getattr(config, "final_logit_softcapping", None)
        # Cohere multiplies by logit_scale, Granite divides by logits_scaling.
        self.scale = getattr(config, "logit_scale", None) or 1.0 / (getattr(config, "logits_scaling", None) or 1.0)
        self._check(model)

    @property
    def shares_prefixes(self) -> bool:
        """Whether the forward pass computes a shared prefix of adjacent rows once."""
        return self.fast is not None

    def hidden(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """[B, T] token ids -> [B, T, d] last hidden states; padding, if any, is on the right.

        No mask is needed: under causal attention no token attends to the padding after it.
        """
        B, T = ids_BT.shape
        places = torch.arange(B * T, device=ids_BT.device)
        return self.hidden_at(ids_BT, places // T, places % T).view(B, T, -1)

    def hidden_at(self, ids_BT: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """[n, d] last hidden states at the n places [rows, columns], equal to those of ``hidden``."""
        if self.fast is not None:
            return self.fast.hidden_at(ids_BT, rows, columns)
        hidden: torch.Tensor = self.backbone(input_ids=ids_BT, use_cache=False).last_hidden_state
        return hidden[rows, columns]

    def logits(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        """[N, d] hidden states -> [N, V] raw logits in float32 (no temperature)."""
        logits: torch.Tensor = self.head(hidden_ND) * self.scale
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits.float()

    @torch.no_grad()
    def _check(self, model: Any) -> None:
        ids = torch.arange(1, 5, device=model.device)[None] % self.head.weight.shape[0]
        expected = model(input_ids=ids, use_cache=False).logits[0].float()
        if not torch.allclose(self.logits(self.hidden(ids)[0]), expected, rtol=1e-2, atol=1e-2):
            raise ActFocusError(
                f"{type(model).__name__}: computes its logits in an unsupported way; only an output layer, "
                "a scale and a soft cap are supported"
            )


def chunk_rows(vocabulary: int, device: torch.device) -> int:
    """Positions in a chunk of float32 logits: 16 MB on a CPU, which stays in its cache; 64 MB on a GPU, where every
    chunk costs kernel launches."""
    return max(32, (1 << (24 if device.type == "cuda" else 22)) // vocabulary)
