"""The fast forward pass of small models, and its gradients, against the model's own."""

import copy

import peft
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from actfocus_core.policy import Policy
from actfocus_core.policy.split_model import SplitModel
from actfocus_core.policy.tiny_cpu import fast_model
from actfocus_core.train import TrainConfig
from actfocus_core.train.learner import Learner, recompute_activations
from tests.core.test_decoder import MODELS, SHAPE, random

ROWS, COLUMNS = torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 5, 8, 1, 2, 11])


def values_and_gradients(model, ask, fast: bool):
    """What ``ask`` gives, and the gradients of a random sum of it."""
    mine = copy.deepcopy(model)
    split = SplitModel(mine, fast)
    assert split.shares_prefixes == fast
    values = ask(split)
    torch.manual_seed(1)
    sum((value * torch.randn_like(value)).sum() for value in values).backward()
    return values, {name: p.grad for name, p in mine.named_parameters()}


def assert_same(model, ask):
    values, gradients = values_and_gradients(model, ask, fast=True)
    own_values, own_gradients = values_and_gradients(model, ask, fast=False)
    for a, b in zip(values, own_values, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    for name, gradient in own_gradients.items():
        assert (gradients[name] is None) == (gradient is None), name
        if gradient is not None:
            assert float((gradients[name] - gradient).norm()) <= 1e-5 * float(gradient.norm()) + 1e-6, name


@pytest.mark.parametrize("kind", MODELS)
def test_hidden_states_and_gradients_are_the_models_own(kind):
    model, ids = random(MODELS[kind]), torch.randint(0, 50, (3, 12))
    assert_same(model, lambda split: [split.hidden_at(ids, ROWS, COLUMNS)])
    assert_same(model, lambda split: [split.hidden(ids)])


@pytest.mark.parametrize("kind", MODELS)
def test_rows_with_shared_prefixes(kind):
    """Rows that diverge at several places, one that is a prefix of another, two equal ones, one of which nothing is asked."""
    model, ids = random(MODELS[kind]), torch.randint(0, 50, (7, 12))
    ids[1, :9] = ids[0, :9]
    ids[2, :3] = ids[0, :3]
    ids[5] = ids[4]
    rows = torch.tensor([0, 0, 1, 1, 2, 3, 4, 5, 5, 6])
    columns = torch.tensor([8, 11, 8, 10, 5, 11, 7, 7, 11, 0])
    assert_same(model, lambda split: [split.hidden_at(ids, rows, columns)])
    assert_same(model, lambda split: [split.hidden_at(ids[:3], *torch.tensor([[2, 0, 2], [4, 8, 4]]))])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("kind", "config"), [(LlamaForCausalLM, LlamaConfig), (Qwen2ForCausalLM, Qwen2Config)])
def test_a_pad_token_within_the_dialogues_has_the_gradient_of_the_models_own_forward(kind, config, tied):
    """Where pad is the end of a turn, it occurs in every dialogue; its embedding has no gradient, its output row has."""
    pad = 7
    quick = random(
        lambda: kind(
            config(**SHAPE, num_attention_heads=4, num_key_value_heads=2, pad_token_id=pad, tie_word_embeddings=tied)
        )
    )
    own, ids = copy.deepcopy(quick), torch.randint(0, 50, (4, 12))
    ids[0, [2, 6, 11]] = ids[1, 3] = ids[3, 0] = pad
    ids[1, :3], ids[2] = ids[0, :3], ids[0]
    split = SplitModel(quick)
    assert split.shares_prefixes
    for logits in (split.logits(split.hidden(ids).flatten(0, 1)), own(input_ids=ids).logits.flatten(0, 1)):
        logits[:-1].log_softmax(-1).gather(1, ids.flatten()[1:, None]).sum().backward()
    for (name, mine), theirs in zip(quick.named_parameters(), own.parameters()):
        assert float((mine.grad - theirs.grad).norm()) <= 1e-5 * float(theirs.grad.norm()), name
    rows = [model.get_input_embeddings().weight.grad[pad] for model in (quick, own)]
    torch.testing.assert_close(*rows, rtol=1e-4, atol=1e-4)
    assert bool(rows[0].any()) == tied


def test_other_arithmetic_and_adapters_keep_the_models_own_forward_pass():
    model = random(MODELS["biases"])
    assert fast_model(model) is not None
    assert fast_model(copy.deepcopy(model).to(torch.bfloat16)) is None
    checkpointed = copy.deepcopy(model)
    recompute_activations(checkpointed)
    assert fast_model(checkpointed) is None
    ids = torch.randint(0, 50, (2, 6))
    before = SplitModel(model).hidden(ids)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    assert fast_model(model) is None
    after = SplitModel(model).hidden(ids)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, adapted(input_ids=ids, output_hidden_states=True).hidden_states[-1])


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "bfloat16"},
        {"gradient_checkpointing": True},
        {"lora_rank": 2},
        {"precision": "float32"},
    ],
    ids=str,
)
def test_a_learner_decides_when_the_policy_is_ready_to_train(policy, change):
    config = TrainConfig.of(algorithm="grpo", **change)
    learner = Learner(config, Policy(policy.name, copy.deepcopy(policy.model), policy.tokenizer, policy.env_options))
    assert learner.model.shares_prefixes == (change == {"precision": "float32"})


def with_a_bias(model):
    model.lm_head = torch.nn.Linear(32, 50)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: setattr(model.model.embed_tokens, "max_norm", 0.5),
        lambda model: setattr(model.model.embed_tokens, "scale_grad_by_freq", True),
        with_a_bias,
        *(
            lambda model, name=name: peft.get_peft_model(
                model, peft.LoraConfig(r=2, target_modules=[name], init_lora_weights=False)
            )
            for name in ("embed_tokens", "lm_head")
        ),
    ],
    ids=["max_norm", "scale_grad_by_freq", "bias", "adapted embeddings", "adapted output layer"],
)
def test_embeddings_and_output_layers_that_do_more_keep_their_own_forward_pass(change):
    model = random(MODELS["grouped heads"])
    assert fast_model(model) is not None
    change(model)
    assert fast_model(model) is None
