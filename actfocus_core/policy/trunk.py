"""The hidden states of a small Llama on a CPU, in fewer passes over memory than the general code makes.

A model of a million parameters spends half of an update beside its matrix products. Here a norm keeps
only what its gradient needs, queries and keys are turned as complex numbers, and the last layer goes on with
the positions that are asked for alone. The numbers, and their gradients in the model's own parameters, are the
model's own but for rounding (a test compares them).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from actfocus_core.policy import decoder


def fits(model) -> bool:
    """Whether a ``Trunk`` can stand for the model's own forward: float32 on a CPU, and what a ``Decoder`` needs."""
    return (model.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not model.is_activation_checkpointing
            and not getattr(model.config, "attention_dropout", 0.0) and decoder.fits(model))


class Trunk:
    """``model``: one that ``fits``. Nothing is copied: it may be trained between two calls."""

    def __init__(self, model):
        self.base, config = model.model, model.config
        self.heads, self.shared = config.num_attention_heads, config.num_key_value_heads
        self.width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.epsilon = config.rms_norm_eps

    def read(self, ids: torch.Tensor, rows: torch.Tensor | None, columns: torch.Tensor | None,
             sizes: torch.Tensor | None = None, states: list[torch.Tensor] | None = None):
        """[n, d] hidden states of int64 [B, T] ids at [rows, columns], and the keys and values of every layer.

        ``states``: keys and values of what comes before, each [B, K, W, w] and valid up to ``sizes`` [B]; the ids follow
        there. The second result are those of the ids alone, each [B, K, T, w]. Without ``rows`` the first is None.
        """
        B, T = ids.shape
        steps = torch.arange(T)
        turn = self._turn(steps[None] if sizes is None else sizes[:, None] + steps)
        unseen = None if sizes is None else _unseen(sizes, states[0].shape[2], T)
        x, made = F.embedding(ids, self.base.embed_tokens.weight).flatten(0, 1), []
        last = len(self.base.layers) - 1
        for i, layer in enumerate(self.base.layers):
            own = layer.self_attn
            h = _Norm.apply(x, layer.input_layernorm.weight, self.epsilon)
            keys = self._turned(h, own.k_proj, turn, B)
            values = F.linear(h, own.v_proj.weight, own.v_proj.bias).view(B, T, -1, self.width).transpose(1, 2)
            made += [keys, values]
            if i == last and rows is None:
                return None, made
            queries = self._turned(h, own.q_proj, turn, B)
            if states is not None:
                keys, values = torch.cat([states[2 * i], keys], 2), torch.cat([states[2 * i + 1], values], 2)
            seen = self._attend(queries, keys, values, unseen)
            if i == last:
                at = rows * T + columns
                x, seen = x.index_select(0, at), seen.index_select(0, at)
            x = x + F.linear(seen, own.o_proj.weight)
            h, mlp = _Norm.apply(x, layer.post_attention_layernorm.weight, self.epsilon), layer.mlp
            x = x + F.linear(F.silu(F.linear(h, mlp.gate_proj.weight)) * F.linear(h, mlp.up_proj.weight), mlp.down_proj.weight)
        return _Norm.apply(x, self.base.norm.weight, self.epsilon), made

    def _turn(self, positions: torch.Tensor) -> torch.Tensor:
        """complex64 [B or 1, T, 1, w / 2]: by what a pair of a query or key is multiplied."""
        cos, sin = self.base.rotary_emb(self.base.embed_tokens.weight, positions)
        half = self.width // 2
        return torch.complex(cos[..., :half], sin[..., :half])[:, :, None]

    def _turned(self, h: torch.Tensor, linear, turn: torch.Tensor, B: int) -> torch.Tensor:
        """[B, heads, T, w] queries or keys. The halves of a head are made as neighbours: products of the two are the same."""
        weight = self._paired(linear.weight)
        made = F.linear(h, weight, None if linear.bias is None else self._paired(linear.bias))
        pairs = torch.view_as_complex(made.view(B, -1, len(weight) // self.width, self.width // 2, 2))
        return torch.view_as_real(pairs * turn).flatten(3).transpose(1, 2)

    def _paired(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.unflatten(0, (-1, 2, self.width // 2)).transpose(1, 2).flatten(0, 2)

    def _attend(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, unseen: torch.Tensor | None) -> torch.Tensor:
        """[B T, H w]: what every query sees. ``unseen``: as ``_unseen`` gives it, None where queries and keys begin together."""
        per = self.heads // self.shared
        keys, values = (x[:, :, None].expand(-1, -1, per, -1, -1).flatten(1, 2) for x in (keys, values))
        seen = F.scaled_dot_product_attention(queries, keys, values, attn_mask=unseen, is_causal=unseen is None)
        return seen.transpose(1, 2).reshape(-1, self.heads * self.width)


def _unseen(sizes: torch.Tensor, width: int, T: int) -> torch.Tensor:
    """float32 [B, 1, T, width + T]: -inf at keys that a query may not see, 0 at the others."""
    steps = torch.arange(T)
    mask = torch.zeros(len(sizes), 1, T, width + T)
    mask[..., :width].masked_fill_((torch.arange(width) >= sizes[:, None])[:, None, None], float("-inf"))
    mask[..., width:].masked_fill_(steps > steps[:, None], float("-inf"))
    return mask


class _Norm(torch.autograd.Function):
    """x / rms(x) * weight over the last dimension of [N, d]; of the forward pass it keeps x and one number a row."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        inverse = torch.linalg.vector_norm(x, dim=1, keepdim=True).square_().div_(x.shape[1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return torch.mul(x, inverse).mul_(weight)

    @staticmethod
    def backward(ctx, grad: torch.Tensor):
        x, weight, inverse = ctx.saved_tensors
        unit = x * inverse
        scaled = grad * weight
        along = torch.linalg.vecdot(scaled, unit)[:, None].div_(-x.shape[1])
        into_weight = (grad * unit).sum(0) if ctx.needs_input_grad[1] else None
        return scaled.addcmul_(unit, along).mul_(inverse), into_weight, None
