"""The few-operations decoder against the model's own forward."""

import numpy as np
import peft
import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from actfocus_core.policy.sampler import CachedSampler, SlotCache
from actfocus_core.policy.tiny_cpu import fast_model

SHAPE = dict(vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=3, max_position_embeddings=64)
MODELS = {
    "one key-value head": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, num_attention_heads=4, num_key_value_heads=1)),
    "grouped heads": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, num_attention_heads=4, num_key_value_heads=2)),
    "heads of a width of their own": lambda: LlamaForCausalLM(
        LlamaConfig(**SHAPE, num_attention_heads=2, num_key_value_heads=2, head_dim=24, tie_word_embeddings=True)
    ),
    "llama 3 rotation": lambda: LlamaForCausalLM(
        LlamaConfig(
            **SHAPE,
            num_attention_heads=4,
            num_key_value_heads=4,
            rope_parameters={
                "rope_type": "llama3",
                "rope_theta": 10_000.0,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        )
    ),
    "biases": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE, num_attention_heads=4, num_key_value_heads=2)),
}


def random(make):
    """A model with no weight at its special starting value, biases and norms among them."""
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.3 + (1.0 if p.dim() == 1 else 0.0))
    return model


@pytest.mark.parametrize("kind", MODELS)
@torch.no_grad()
def test_streams_of_different_lengths_get_the_models_own_logits(kind):
    model = random(MODELS[kind])
    fast = fast_model(model)
    assert fast is not None
    decoder, cache, lengths = fast.decoder(), SlotCache(3, 4), torch.tensor([3, 9, 1, 6])
    ids = torch.randint(0, 50, (4, 15))
    read = torch.arange(9).expand(4, -1)
    cache.set_positions(read)
    hidden = torch.arange(9) > read[:, :, None]
    mask = torch.zeros(4, 1, 9, 9).masked_fill_(hidden[:, None], torch.finfo(torch.float32).min)
    model(input_ids=ids[:, :9], position_ids=read, attention_mask=mask, past_key_values=cache, use_cache=True)
    for i in range(5):
        # Each row goes on from its own length, so what was read beyond it is written over.
        rows = torch.arange(4)[: 4 - (i > 2)]
        at = lengths[rows] + i
        found = decoder.next_logits(ids[rows, at], at, cache)
        for row in rows.tolist():
            own = model(input_ids=ids[row : row + 1, : at[row] + 1]).logits[0, -1]
            torch.testing.assert_close(found[row], own, rtol=2e-4, atol=2e-4)


@torch.no_grad()
def test_weights_changed_in_place_are_read_at_the_next_beginning(policy):
    sampler = CachedSampler(policy)
    blocks, uniforms = [[5, 6, 7]] * 2, np.full((2, 6), 0.5)
    sampler.begin(2)
    assert sampler.decoder is not None
    before = sampler.reply(blocks, 6, uniforms)[0].logprobs
    saved = [p.clone() for p in policy.model.parameters()]
    try:
        for p in policy.model.parameters():
            p.mul_(1.5)
        sampler.begin(2)
        after = sampler.reply(blocks, 6, uniforms)[0]
        ids = torch.tensor([[5, 6, 7, *after.ids]])
        own = policy.model(input_ids=ids).logits[0, 2:-1].log_softmax(-1)
        np.testing.assert_allclose(after.logprobs, own[range(len(after.ids)), after.ids], atol=1e-4)
    finally:
        for p, old in zip(policy.model.parameters(), saved):
            p.copy_(old)
    assert not np.allclose(before, after.logprobs[: len(before)], atol=1e-2)


def test_other_models_keep_their_own_forward():
    other = MistralForCausalLM(MistralConfig(**SHAPE, num_attention_heads=4, num_key_value_heads=2, sliding_window=8))
    assert fast_model(other) is None
    assert fast_model(MODELS["biases"]().to(torch.bfloat16)) is None
    assert fast_model(LlamaForCausalLM(LlamaConfig(**SHAPE, num_attention_heads=4, hidden_act="gelu"))) is None
    assert (
        fast_model(LlamaForCausalLM(LlamaConfig(**SHAPE, num_attention_heads=4, attention_bias=True, mlp_bias=True)))
        is None
    )


def test_adapters_keep_the_models_own_forward():
    model = MODELS["grouped heads"]()
    peft.inject_adapter_in_model(peft.LoraConfig(target_modules=["q_proj", "v_proj"]), model)
    assert fast_model(model) is None
