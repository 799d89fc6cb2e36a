"""One decoding step of a small Llama or Qwen2 for all streams, in a few large operations.

A model of a million parameters spends most of a decoding step on overhead between operations. Here the query, key and
value projections of a layer are one matrix product, which also yields the half-rotated queries and keys needed by RoPE,
and attention is two batched products. Logits equal those of the model's own forward pass up to rounding. A decoder
copies the weights: create a new one after training them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from actfocus_core.policy.sampler import SlotCache, SlotLayer


@dataclass
class _Layer:
    """The weights of one layer, transposed for right multiplication."""

    projection: torch.Tensor
    """[d, (2 H + 3 K) w] for H heads and K key-value heads of width w: queries, keys, both half-rotated, values"""
    bias: torch.Tensor
    attention_norm: torch.Tensor
    output: torch.Tensor
    mlp_norm: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


class Decoder:
    """Decodes with the current weights of ``model``, which ``supports`` must accept."""

    @torch.no_grad()
    def __init__(self, model: Any):
        base, config = model.model, model.config
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.epsilon = config.rms_norm_eps
        positions = torch.arange(config.max_position_embeddings, device=model.device)
        cos, sin = base.rotary_emb(base.embed_tokens.weight, positions[None])
        self.cos, self.sin = cos[0], sin[0]
        self.embedding, self.head, self.norm = base.embed_tokens.weight, model.lm_head.weight.T, base.norm.weight
        self.layers = [self._layer(layer) for layer in base.layers]

    def _layer(self, layer: Any) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        query_key = torch.cat([attention.q_proj.weight, attention.k_proj.weight])
        value = attention.v_proj.weight
        bias = torch.zeros(len(query_key) * 2 + len(value), dtype=query_key.dtype, device=query_key.device)
        if attention.q_proj.bias is not None:
            query_key_bias = torch.cat([attention.q_proj.bias, attention.k_proj.bias])
            bias = torch.cat([query_key_bias, self._rotate_half(query_key_bias), attention.v_proj.bias])
        return _Layer(
            torch.cat([query_key, self._rotate_half(query_key), value]).T.contiguous(),
            bias,
            layer.input_layernorm.weight,
            attention.o_proj.weight.T,
            layer.post_attention_layernorm.weight,
            torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]).T.contiguous(),
            mlp.down_proj.weight.T,
        )

    def _rotate_half(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight whose output is (-b, a) for each head, if that of ``weight`` has the halves (a, b)."""
        a, b = torch.unflatten(weight, 0, (-1, 2, self.head_width // 2)).unbind(1)
        return torch.stack([-b, a], 1).reshape(weight.shape)

    @torch.no_grad()
    def next_logits(self, ids: torch.Tensor, positions: torch.Tensor, cache: SlotCache) -> torch.Tensor:
        """Logits [n, V] after int64 ids [n] at positions [n], the latest tokens of the first n rows of ``cache``."""
        cache.set_positions(positions[:, None])
        mask = self._mask(positions, cache.slots)
        rope = self.cos[positions][:, None], self.sin[positions][:, None]
        x_nd = self.embedding[ids]
        for layer, slots in zip(self.layers, cache.slot_layers):
            x_nd = torch.addmm(x_nd, self._attention(x_nd, layer, slots, rope, mask), layer.output)
            h = F.rms_norm(x_nd, x_nd.shape[1:], layer.mlp_norm, self.epsilon)
            gate, up = (h @ layer.gate_up).chunk(2, 1)
            x_nd = torch.addmm(x_nd, F.silu(gate).mul_(up), layer.down)
        logits: torch.Tensor = F.rms_norm(x_nd, x_nd.shape[1:], self.norm, self.epsilon) @ self.head
        return logits

    def _mask(self, positions: torch.Tensor, slots: int) -> torch.Tensor:
        """[n K, 1, slots]: -inf at the slots after a row's position, repeated for each key-value head."""
        after = torch.arange(slots, device=positions.device) > positions[:, None, None]
        mask = torch.zeros(after.shape, device=positions.device).masked_fill_(after, float("-inf"))
        return mask.repeat_interleave(self.kv_heads, 0)

    def _attention(
        self,
        x_nd: torch.Tensor,
        layer: _Layer,
        slots: SlotLayer,
        rope: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """[n, H w]: outputs of the attention heads, before the output projection."""
        n, per_group = len(x_nd), self.heads // self.kv_heads
        width = (self.heads + self.kv_heads) * self.head_width
        h = F.rms_norm(x_nd, x_nd.shape[1:], layer.attention_norm, self.epsilon)
        plain, half_rotated, values = torch.split(
            torch.addmm(layer.bias, h, layer.projection), [width, width, self.kv_heads * self.head_width], 1
        )
        cos, sin = rope
        rotated = torch.addcmul(
            torch.unflatten(plain, 1, (-1, self.head_width)) * cos,
            torch.unflatten(half_rotated, 1, (-1, self.head_width)),
            sin,
        )
        queries, keys = torch.split(rotated, [self.heads, self.kv_heads], 1)
        keys, values = slots.update(keys[:, :, None], values.view(n, self.kv_heads, 1, self.head_width))
        scores = torch.baddbmm(
            mask,
            queries.reshape(n * self.kv_heads, per_group, self.head_width),
            keys.flatten(0, 1).transpose(1, 2),
            alpha=self.head_width**-0.5,
        )
        return torch.bmm(scores.softmax(-1), values.flatten(0, 1)).reshape(n, -1)
