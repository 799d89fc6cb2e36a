"""One more token for every stream of a small Llama, in few and large operations.

A model of a million parameters spends most of a decoding step between its operations, not in
them. Here the projections of a layer are one product, the rotation of queries and keys is
folded into it, and attention is two batched products. The numbers are the model's own but for
rounding. A decoder copies weights: after training has changed them another one is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from transformers import LlamaForCausalLM, Qwen2ForCausalLM

if TYPE_CHECKING:
    from actfocus_core.policy.sampler import SlotCache

LARGEST = 50_000_000
"""Parameters. Above it the products themselves take the time, and the copies memory."""


def fits(model: Any) -> bool:
    """Whether a ``Decoder`` can stand for the model's forward: a small float32 Llama or Qwen2."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        type(model) in (LlamaForCausalLM, Qwen2ForCausalLM)
        and config.hidden_act == "silu"
        and all(p.dtype == torch.float32 for p in model.parameters())
        and sum(p.numel() for p in model.parameters()) <= LARGEST
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        and rope.get("rope_type", "default") in ("default", "linear", "llama3")
        and _plain_ends(model)
        and all(_plain(layer) for layer in model.model.layers)
    )


def _plain_ends(model: Any) -> bool:
    """A plain embedding and a plain output layer without a bias; no adapters.

    ``max_norm`` rescales the rows that are looked up. ``scale_grad_by_freq`` divides gradients by the number of
    occurrences of a token, which is another number where a shared prefix is read once.
    """
    embedding, head = model.model.embed_tokens, model.lm_head
    return (
        type(embedding) is torch.nn.Embedding
        and embedding.max_norm is None
        and not embedding.scale_grad_by_freq
        and type(head) is torch.nn.Linear
        and head.bias is None
    )


def _plain(layer: Any) -> bool:
    """No adapters, and biases, if any, where Qwen2 has them."""
    attention, mlp = layer.self_attn, layer.mlp
    into, others = (
        (attention.q_proj, attention.k_proj, attention.v_proj),
        (attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj),
    )
    return all(type(linear) is torch.nn.Linear for linear in (*into, *others)) and all(
        linear.bias is None for linear in others
    )


@dataclass
class _Layer:
    """One layer's weights, transposed as the products want them."""

    project: torch.Tensor
    """[d, (2 H + 3 K) w] for H heads, K key-value heads of width w: queries, keys, both of them a quarter turn on, values"""
    bias: torch.Tensor
    attention_norm: torch.Tensor
    out: torch.Tensor
    mlp_norm: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


class Decoder:
    """``model``: one that ``fits``."""

    @torch.no_grad()
    def __init__(self, model: Any):
        base, config = model.model, model.config
        self.heads, self.shared = config.num_attention_heads, config.num_key_value_heads
        self.width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.epsilon = config.rms_norm_eps
        positions = torch.arange(config.max_position_embeddings, device=model.device)
        cos, sin = base.rotary_emb(base.embed_tokens.weight, positions[None])
        self.cos, self.sin = cos[0], sin[0]
        self.embedding, self.head, self.norm = base.embed_tokens.weight, model.lm_head.weight.T, base.norm.weight
        self.layers = [self._layer(layer) for layer in base.layers]

    def _layer(self, layer: Any) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        turned = torch.cat([attention.q_proj.weight, attention.k_proj.weight])
        values = attention.v_proj.weight
        bias = torch.zeros(len(turned) * 2 + len(values), dtype=turned.dtype, device=turned.device)
        if attention.q_proj.bias is not None:
            both = torch.cat([attention.q_proj.bias, attention.k_proj.bias])
            bias = torch.cat([both, self._quarter(both), attention.v_proj.bias])
        return _Layer(
            torch.cat([turned, self._quarter(turned), values]).T.contiguous(),
            bias,
            layer.input_layernorm.weight,
            attention.o_proj.weight.T,
            layer.post_attention_layernorm.weight,
            torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]).T.contiguous(),
            mlp.down_proj.weight.T,
        )

    def _quarter(self, weight: torch.Tensor) -> torch.Tensor:
        """What makes the rotated halves (-b, a) where ``weight`` makes (a, b), head by head."""
        a, b = torch.unflatten(weight, 0, (-1, 2, self.width // 2)).unbind(1)
        return torch.stack([-b, a], 1).reshape(weight.shape)

    @torch.no_grad()
    def next_logits(self, ids: torch.Tensor, positions: torch.Tensor, cache: SlotCache) -> torch.Tensor:
        """ids, positions: int64 [n], the last token of the first n rows of the ``SlotCache``; logits [n, V]."""
        cache.aim(positions[:, None])
        n, slots, per = len(ids), cache.slots, self.heads // self.shared
        scale = self.width**-0.5
        unseen = (
            torch.zeros(n, 1, slots, device=ids.device)
            .masked_fill_(torch.arange(slots, device=ids.device) > positions[:, None, None], float("-inf"))
            .repeat_interleave(self.shared, 0)
        )
        turning = (self.heads + self.shared) * self.width
        cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]
        x = self.embedding[ids]
        for layer, held in zip(self.layers, cache.own):
            made = torch.addmm(
                layer.bias, F.rms_norm(x, x.shape[1:], layer.attention_norm, self.epsilon), layer.project
            )
            straight, quarter, values = torch.split(made, [turning, turning, self.shared * self.width], 1)
            turned = torch.addcmul(
                torch.unflatten(straight, 1, (-1, self.width)) * cos,
                torch.unflatten(quarter, 1, (-1, self.width)),
                sin,
            )
            queries, keys = torch.split(turned, [self.heads, self.shared], 1)
            keys, values = held.update(keys[:, :, None], values.view(n, self.shared, 1, self.width))
            scores = torch.baddbmm(
                unseen,
                queries.reshape(n * self.shared, per, self.width),
                keys.flatten(0, 1).transpose(1, 2),
                alpha=scale,
            )
            seen = torch.bmm(scores.softmax(-1), values.flatten(0, 1))
            x = torch.addmm(x, seen.reshape(n, -1), layer.out)
            gate, up = (F.rms_norm(x, x.shape[1:], layer.mlp_norm, self.epsilon) @ layer.gate_up).chunk(2, 1)
            x = torch.addmm(x, F.silu(gate).mul_(up), layer.down)
        logits: torch.Tensor = F.rms_norm(x, x.shape[1:], self.norm, self.epsilon) @ self.head
        return logits
