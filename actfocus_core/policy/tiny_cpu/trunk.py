"""The hidden states of a small Llama on a CPU, in fewer passes over memory than the general code makes.

A model of a million parameters spends half of an update beside its matrix products. Here what rows begin alike
with is read once (forest.py), a norm keeps only what its gradient needs, queries and keys are turned as complex
numbers, and the last layer goes on with the positions that are asked for alone. The numbers, and their gradients
in the model's own parameters, are the model's own but for rounding (a test compares them).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from actfocus_core.policy.tiny_cpu import decoder
from actfocus_core.policy.tiny_cpu.attention import Attention
from actfocus_core.policy.tiny_cpu.forest import Forest


def fits(model: Any) -> bool:
    """Whether a ``Trunk`` can stand for the model's own forward: float32 on a CPU, and what a ``Decoder`` needs."""
    return (
        model.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and not _checkpointed(model)
        and not getattr(model.config, "attention_dropout", 0.0)
        and decoder.fits(model)
    )


def _checkpointed(model: Any) -> bool:
    """Whether activations are recomputed in the backward pass. transformers 5.19 and 5.23 have different properties for this."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


class Trunk:
    """``model``: one that ``fits``. Nothing is copied: it may be trained between two calls."""

    def __init__(self, model: Any):
        self.base, config = model.model, model.config
        self.heads = config.num_attention_heads
        self.width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.epsilon = config.rms_norm_eps

    def read(self, ids: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """[n, d] last hidden states of int64 [B, T] ids at [rows, columns]; what neighbouring rows begin alike with is read once."""
        lengths = np.zeros(len(ids), dtype=np.int64)
        np.maximum.at(lengths, rows.numpy(), columns.numpy() + 1)
        forest = Forest(ids.numpy(), lengths)
        found = torch.from_numpy(forest.place[rows.numpy(), columns.numpy()])
        asked, places = torch.unique(found, return_inverse=True)
        attend = Attention(forest, self.heads, len(self.base.layers))
        turn = self._turn(forest.positions)
        # The module and not its weight alone: with a padding_idx the row of that token has no gradient.
        x = self.base.embed_tokens(forest.ids)
        last = len(self.base.layers) - 1
        for i, layer in enumerate(self.base.layers):
            own = layer.self_attn
            h = _norm(x, layer.input_layernorm.weight, self.epsilon)
            keys = self._turned(h, own.k_proj, turn)
            values = torch.unflatten(F.linear(h, own.v_proj.weight, own.v_proj.bias), 1, (-1, self.width))
            seen = attend(self._turned(h, own.q_proj, turn * self.width**-0.5), keys, values).flatten(1)
            if i == last:
                x, seen = x.index_select(0, asked), seen.index_select(0, asked)
            x = x + F.linear(seen, own.o_proj.weight)
            h, mlp = _norm(x, layer.post_attention_layernorm.weight, self.epsilon), layer.mlp
            x = x + F.linear(
                F.silu(F.linear(h, mlp.gate_proj.weight)) * F.linear(h, mlp.up_proj.weight), mlp.down_proj.weight
            )
        return _norm(x, self.base.norm.weight, self.epsilon).index_select(0, places)

    def _turn(self, positions: torch.Tensor) -> torch.Tensor:
        """complex64 [N, 1, w / 2]: by what a pair of a query or key is multiplied."""
        cos, sin = self.base.rotary_emb(self.base.embed_tokens.weight, positions[None])
        half = self.width // 2
        return torch.complex(cos[0, :, :half], sin[0, :, :half])[:, None]

    def _turned(self, h: torch.Tensor, linear: torch.nn.Linear, turn: torch.Tensor) -> torch.Tensor:
        """[N, heads, w] queries or keys. The halves of a head are made as neighbours: products of the two are the same."""
        weight = self._paired(linear.weight)
        made = F.linear(h, weight, None if linear.bias is None else self._paired(linear.bias))
        pairs = torch.view_as_complex(made.view(len(h), -1, self.width // 2, 2))
        return torch.view_as_real(pairs * turn).flatten(2)

    def _paired(self, weight: torch.Tensor) -> torch.Tensor:
        return torch.unflatten(weight, 0, (-1, 2, self.width // 2)).transpose(1, 2).flatten(0, 2)


def _norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    made: torch.Tensor = _Norm.apply(x, weight, epsilon)  # type: ignore[no-untyped-call]  # torch gives it no types
    return made


class _Norm(torch.autograd.Function):
    """x / rms(x) * weight over the last dimension of [N, d]; of the forward pass it keeps x and one number a row."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        inverse = torch.linalg.vector_norm(x, dim=1, keepdim=True).square_().div_(x.shape[1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return torch.mul(x, inverse).mul_(weight)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        x, weight, inverse = ctx.saved_tensors
        unit = x * inverse
        scaled = grad * weight
        along = torch.linalg.vecdot(scaled, unit)[:, None].div_(-x.shape[1])
        into_weight = (grad * unit).sum(0) if ctx.needs_input_grad[1] else None
        return scaled.addcmul_(unit, along).mul_(inverse), into_weight, None
