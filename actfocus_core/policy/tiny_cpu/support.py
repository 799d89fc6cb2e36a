"""Which models the fast passes can compute."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlamaForCausalLM, Qwen2ForCausalLM

MAX_PARAMETERS = 50_000_000
"""In larger models the matrix products dominate the time, and the decoder's copy of the weights takes much memory."""


def supports(model: Any) -> bool:
    """Whether the fast passes reproduce the model's own forward pass.

    True for a small float32 Llama or Qwen2 on a CPU with full attention, no adapters, no dropout and no gradient
    checkpointing.
    """
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        type(model) in (LlamaForCausalLM, Qwen2ForCausalLM)
        and model.device.type == "cpu"
        and all(p.dtype == torch.float32 for p in model.parameters())
        and sum(p.numel() for p in model.parameters()) <= MAX_PARAMETERS
        and config.hidden_act == "silu"
        and not getattr(config, "attention_dropout", 0.0)
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        and rope.get("rope_type", "default") in ("default", "linear", "llama3")
        and not _checkpoints_activations(model)
        and _has_plain_ends(model)
        and all(_is_plain(layer) for layer in model.model.layers)
    )


def _checkpoints_activations(model: Any) -> bool:
    # The property of the whole model differs between transformers 5.19 and 5.23; the attribute of the layers does not.
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def _has_plain_ends(model: Any) -> bool:
    """Whether embedding and output layer have no adapters and no special options, and the latter no bias.

    ``max_norm`` rescales the embeddings during lookup. ``scale_grad_by_freq`` divides gradients by the number of
    occurrences of a token, which changes if a shared prefix is computed once.
    """
    embedding, head = model.model.embed_tokens, model.lm_head
    return (
        type(embedding) is torch.nn.Embedding
        and embedding.max_norm is None
        and not embedding.scale_grad_by_freq
        and type(head) is torch.nn.Linear
        and head.bias is None
    )


def _is_plain(layer: Any) -> bool:
    """Whether a layer has no adapters, and biases at most in the query, key and value projections (as in Qwen2)."""
    attention, mlp = layer.self_attn, layer.mlp
    with_bias = (attention.q_proj, attention.k_proj, attention.v_proj)
    without_bias = (attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj)
    return all(type(linear) is torch.nn.Linear for linear in (*with_bias, *without_bias)) and all(
        linear.bias is None for linear in without_bias
    )
