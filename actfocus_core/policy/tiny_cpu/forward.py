"""Hidden states of a small Llama or Qwen2 on a CPU, with every shared prefix of adjacent rows computed once.

The rows of a batch become a prefix tree (``prefix_tree``), and each of its nodes passes through the layers once; a
segment of the tree attends to its own path. The last layer is computed only at the requested places. Values and
gradients of the parameters equal those of the model's own forward pass up to rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from actfocus_core.policy.tiny_cpu.prefix_tree import PrefixTree, Segment

Mask = torch.Tensor | None


class ForwardPass:
    """The forward pass of ``model``, which ``supports`` must accept. The model may be trained between two calls."""

    def __init__(self, model: Any):
        self.base, config = model.model, model.config
        self.head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.epsilon = config.rms_norm_eps

    def __call__(self, ids_BT: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """[n, d] last hidden states of int64 [B, T] ids at [rows, columns]."""
        lengths = np.zeros(len(ids_BT), dtype=np.int64)
        np.maximum.at(lengths, rows.numpy(), columns.numpy() + 1)
        tree = PrefixTree(ids_BT.numpy(), lengths)
        nodes, node_index = torch.unique(
            torch.from_numpy(tree.node_of[rows.numpy(), columns.numpy()]), return_inverse=True
        )
        segments = [(segment, segment.mask()) for segment in tree.segments]
        # Call the module, not its weight: with a padding_idx the row of that token has no gradient.
        x_Nd = self.base.embed_tokens(tree.ids)
        cos, sin = (part[0][:, None] for part in self.base.rotary_emb(x_Nd, tree.positions[None]))
        last = len(self.base.layers) - 1
        for i, layer in enumerate(self.base.layers):
            attended = self._attention(layer, x_Nd, segments, cos, sin)
            if i == last:
                x_Nd, attended = x_Nd.index_select(0, nodes), attended.index_select(0, nodes)
            x_Nd = x_Nd + F.linear(attended, layer.self_attn.o_proj.weight)
            x_Nd = x_Nd + self._mlp(layer, x_Nd)
        return self._norm(x_Nd, self.base.norm).index_select(0, node_index)

    def _attention(
        self, layer: Any, x_Nd: torch.Tensor, segments: list[tuple[Segment, Mask]], cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor:
        """[N, H w]: outputs of the attention heads at every node, before the output projection."""
        attention = layer.self_attn
        h = self._norm(x_Nd, layer.input_layernorm)
        queries, keys, values = (
            F.linear(h, projection.weight, projection.bias).view(len(h), -1, self.head_width)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        queries, keys = (_apply_rope(heads, cos, sin) for heads in (queries, keys))
        return torch.cat([_attend(queries, keys, values, *segment) for segment in segments]).flatten(1)

    def _mlp(self, layer: Any, x_Nd: torch.Tensor) -> torch.Tensor:
        h, mlp = self._norm(x_Nd, layer.post_attention_layernorm), layer.mlp
        gated = F.silu(F.linear(h, mlp.gate_proj.weight)) * F.linear(h, mlp.up_proj.weight)
        return F.linear(gated, mlp.down_proj.weight)

    def _norm(self, x_Nd: torch.Tensor, norm: Any) -> torch.Tensor:
        return F.rms_norm(x_Nd, x_Nd.shape[1:], norm.weight, self.epsilon)


def _apply_rope(heads_NHw: torch.Tensor, cos_N1w: torch.Tensor, sin_N1w: torch.Tensor) -> torch.Tensor:
    first, second = heads_NHw.chunk(2, -1)
    return heads_NHw * cos_N1w + torch.cat([-second, first], -1) * sin_N1w


def _attend(
    queries_NHw: torch.Tensor, keys_NKw: torch.Tensor, values_NKw: torch.Tensor, segment: Segment, mask: Mask
) -> torch.Tensor:
    """[n, H, w]: causal attention of the n nodes of a segment over its path; each key-value head serves H / K heads."""
    queries = queries_NHw[segment.nodes].transpose(0, 1)[None]
    keys, values = (
        torch.cat([heads[first:end] for first, end in segment.path]).transpose(0, 1)[None]
        for heads in (keys_NKw, values_NKw)
    )
    attended: torch.Tensor = F.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=True
    )
    return attended[0].transpose(0, 1)
