"""Faster forward and decoding passes for small Llama and Qwen2 models in float32 on a CPU.

In a model of a million parameters the overhead between operations dominates, so a few large operations are much faster
than the general code of transformers. ``fast_model`` is the only entry point: the owner of a model calls it once, during
setup, and keeps the result. ``benchmarks/fast_paths.py`` measures the time that each pass saves.
"""

from __future__ import annotations

from typing import Any

import torch

from actfocus_core.policy.tiny_cpu.decoder import Decoder
from actfocus_core.policy.tiny_cpu.forward import ForwardPass
from actfocus_core.policy.tiny_cpu.support import supports

__all__ = ["Decoder", "FastModel", "fast_model"]


class FastModel:
    """The fast passes of one model accepted by ``supports``. The weights may be trained between two calls."""

    def __init__(self, model: Any):
        self._model = model
        self._forward = ForwardPass(model)

    def hidden_at(self, ids_BT: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """[n, d] differentiable last hidden states at n places of int64 [B, T] ids (``ForwardPass``)."""
        return self._forward(ids_BT, rows, columns)

    def decoder(self) -> Decoder:
        """A decoder with a copy of the current weights."""
        return Decoder(self._model)


def fast_model(model: Any) -> FastModel | None:
    """The fast passes of a model, or None if only its own forward pass computes it correctly.

    The result is valid for the current model: call again after adding adapters, moving or casting parameters, or
    switching on gradient checkpointing.
    """
    return FastModel(model) if supports(model) else None
