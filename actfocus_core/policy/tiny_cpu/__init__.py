"""Faster passes for small Llama and Qwen2 models in float32 on a CPU.

The operations of a model of a million parameters take less time than what lies between them, so a few large operations
are much faster than the general code of transformers. ``fast_model`` is the only way in: who holds a model asks once,
when it is set up, and keeps the answer. What each pass saves is measured by ``benchmarks/fast_paths.py``.
"""

from __future__ import annotations

from typing import Any

import torch

from actfocus_core.policy.tiny_cpu.decoder import Decoder
from actfocus_core.policy.tiny_cpu.forward import ForwardPass
from actfocus_core.policy.tiny_cpu.support import supports

__all__ = ["Decoder", "FastModel", "fast_model"]


class FastModel:
    """The fast passes of one model, which ``supports`` accepts. Weights may be trained between two calls."""

    def __init__(self, model: Any):
        self._model = model
        self._forward = ForwardPass(model)

    def hidden_at(self, ids_BT: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """[n, d] last hidden states, and their gradients, at n places of int64 [B, T] ids (``ForwardPass``)."""
        return self._forward(ids_BT, rows, columns)

    def decoder(self) -> Decoder:
        """A decoder of the weights as they are now: it copies them."""
        return Decoder(self._model)


def fast_model(model: Any) -> FastModel | None:
    """The fast passes of a model, or None where it must be read by its own forward pass.

    The answer holds for the model as it is: ask again after adapters were added, parameters were moved or cast, or
    gradient checkpointing was switched on.
    """
    return FastModel(model) if supports(model) else None
