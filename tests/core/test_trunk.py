"""The quick forward pass of small models, and its gradients, against the model's own."""

import copy

import numpy as np
import peft
import pytest
import torch
from torch.autograd import gradcheck
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from actfocus_core.policy.split_model import SplitModel
from actfocus_core.policy.tiny_cpu import attention, decoder, trunk
from actfocus_core.policy.tiny_cpu.forest import Forest
from tests.core.test_decoder import MODELS, SHAPE, random

ROWS, COLUMNS = torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 5, 8, 1, 2, 11])


def both(model, ask, monkeypatch):
    """What ``ask`` gives by the trunk and by the model's own forward, and the gradients of a random sum of it."""
    found = []
    for fits in (True, False):
        mine = copy.deepcopy(model)
        assert trunk.fits(mine)
        with monkeypatch.context() as patch:
            if not fits:
                patch.setattr(trunk, "fits", lambda model: False)
            values = ask(SplitModel(mine))
        torch.manual_seed(1)
        sum((value * torch.randn_like(value)).sum() for value in values).backward()
        found.append((values, {name: p.grad for name, p in mine.named_parameters()}))
    return found


def the_same(model, ask, monkeypatch):
    (quick, gradients), (own, others) = both(model, ask, monkeypatch)
    for a, b in zip(quick, own, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    for name, gradient in others.items():
        assert (gradients[name] is None) == (gradient is None), name
        if gradient is not None:
            assert float((gradients[name] - gradient).norm()) <= 1e-5 * float(gradient.norm()) + 1e-6, name


@pytest.mark.parametrize("kind", MODELS)
def test_hidden_states_and_gradients_are_the_models_own(kind, monkeypatch):
    model, ids = random(MODELS[kind]), torch.randint(0, 50, (3, 12))
    the_same(model, lambda split: [split.hidden_at(ids, ROWS, COLUMNS)], monkeypatch)
    the_same(model, lambda split: [split.hidden(ids)], monkeypatch)


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("kind", MODELS)
def test_rows_that_begin_alike_too(kind, held, monkeypatch):
    """Rows that branch off at several places, one that is another's beginning, two that are the same, one of which nothing is asked;
    with blocks shorter than a row, and probabilities that are kept or made again."""
    monkeypatch.setattr(attention, "BLOCK", 4)
    monkeypatch.setattr(attention, "HELD", attention.HELD if held else 0)
    model, ids = random(MODELS[kind]), torch.randint(0, 50, (7, 12))
    ids[1, :9] = ids[0, :9]
    ids[2, :3] = ids[0, :3]
    ids[5] = ids[4]
    rows = torch.tensor([0, 0, 1, 1, 2, 3, 4, 5, 5, 6])
    columns = torch.tensor([8, 11, 8, 10, 5, 11, 7, 7, 11, 0])
    the_same(model, lambda split: [split.hidden_at(ids, rows, columns)], monkeypatch)
    the_same(model, lambda split: [split.hidden_at(ids[:3], *torch.tensor([[2, 0, 2], [4, 8, 4]]))], monkeypatch)


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
    assert trunk.fits(quick)
    split = SplitModel(quick)
    for logits in (split.logits(split.hidden(ids).flatten(0, 1)), own(input_ids=ids).logits.flatten(0, 1)):
        logits[:-1].log_softmax(-1).gather(1, ids.flatten()[1:, None]).sum().backward()
    for (name, mine), theirs in zip(quick.named_parameters(), own.parameters()):
        assert float((mine.grad - theirs.grad).norm()) <= 1e-5 * float(theirs.grad.norm()), name
    rows = [model.get_input_embeddings().weight.grad[pad] for model in (quick, own)]
    torch.testing.assert_close(*rows, rtol=1e-4, atol=1e-4)
    assert bool(rows[0].any()) == tied


@pytest.mark.parametrize("held", [True, False])
def test_the_attentions_gradient_is_that_of_its_formula(held, monkeypatch):
    monkeypatch.setattr(attention, "BLOCK", 3)
    monkeypatch.setattr(attention, "HELD", attention.HELD if held else 0)
    rows = np.array([[1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 9, 9, 0], [1, 2, 8, 8, 8, 8, 8]])
    attend = attention.Attention(Forest(rows, np.array([7, 6, 5])), heads=4, layers=1)
    torch.manual_seed(0)
    q, k, v = (torch.randn(12, heads, 2, dtype=torch.float64, requires_grad=True) for heads in (4, 2, 2))
    assert gradcheck(attend, (q, k, v))


def test_the_norms_gradient_is_that_of_its_formula():
    torch.manual_seed(0)
    x, weight = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((5, 6), (6,)))
    assert gradcheck(lambda x, weight: trunk._Norm.apply(x, weight, 1e-6), (x, weight))
    with torch.no_grad():
        torch.testing.assert_close(
            trunk._Norm.apply(x, weight, 1e-6), torch.nn.functional.rms_norm(x, (6,), weight, 1e-6)
        )


def test_other_models_and_other_arithmetic_keep_their_own_forward():
    model = random(MODELS["biases"])
    assert trunk.fits(model)
    with torch.autocast("cpu", torch.bfloat16):
        assert not trunk.fits(model)
    assert not trunk.fits(copy.deepcopy(model).to(torch.bfloat16))
    checkpointed = copy.deepcopy(model)
    checkpointed.activation_checkpointing_enable({"use_reentrant": False})
    assert not trunk.fits(checkpointed)
    # Adapters put in later are seen: the question is asked at every pass.
    split = SplitModel(model)
    ids = torch.randint(0, 50, (2, 6))
    before = split.hidden(ids)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    assert not trunk.fits(model)
    after = split.hidden(ids)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, adapted(input_ids=ids, output_hidden_states=True).hidden_states[-1])


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
def test_embeddings_and_output_layers_that_do_more_keep_their_own_forward(change):
    model = random(MODELS["grouped heads"])
    assert decoder.fits(model) and trunk.fits(model)
    change(model)
    assert not decoder.fits(model) and not trunk.fits(model)
