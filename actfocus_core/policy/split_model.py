"""A causal language model as a backbone and a head, so that logits are made in chunks."""

from __future__ import annotations

from typing import Any

import torch

from actfocus_core.errors import ActFocusError
from actfocus_core.policy.tiny_cpu import fast_model


class SplitModel:
    """The hidden states of a model, and its logits from them.

    Logits of a whole batch at a large vocabulary are the largest tensor by far; who needs only a number a position makes
    them a few positions at a time. Raises ActFocusError where the two halves do not give the model's own logits (checked
    on a few tokens).

    ``fast``: whether a small model on a CPU may be read by ``tiny_cpu``'s forward pass, in float32. That is decided here
    for good, so add adapters and switch on gradient checkpointing before.
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
        """[B, T] token ids -> [B, T, d] last hidden states; pads, if any, stand on the right.

        Under causal attention nothing before a pad sees it, so no mask is needed.
        """
        B, T = ids_BT.shape
        places = torch.arange(B * T, device=ids_BT.device)
        return self.hidden_at(ids_BT, places // T, places % T).view(B, T, -1)

    def hidden_at(self, ids_BT: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """[n, d] last hidden states at these n places alone, as ``hidden`` has them."""
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
        own = model(input_ids=ids, use_cache=False).logits[0].float()
        if not torch.allclose(self.logits(self.hidden(ids)[0]), own, rtol=1e-2, atol=1e-2):
            raise ActFocusError(
                f"{type(model).__name__}: makes its logits in a way that is not known "
                "here (more than an output layer, a scale and a soft cap)"
            )


def chunk_rows(vocabulary: int, device: torch.device) -> int:
    """Positions a chunk of float32 logits: what stays in a CPU's cache, 64 MB where each chunk is a launch of kernels."""
    return max(32, (1 << (24 if device.type == "cuda" else 22)) // vocabulary)
