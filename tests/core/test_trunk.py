"""The quick forward pass of small models, and its gradients, against the model's own."""

import copy

import peft
import pytest
import torch
from torch.autograd import gradcheck

from actfocus_core.policy import trunk
from actfocus_core.policy.logits import SplitModel
from tests.core.test_decoder import MODELS, random

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


@pytest.mark.parametrize("kind", MODELS)
def test_what_goes_on_from_an_opening_too(kind, monkeypatch):
    """Two openings of different lengths, three rows that follow them; the gradient reaches the openings."""
    model, openings, sizes = random(MODELS[kind]), torch.randint(0, 50, (2, 7)), torch.tensor([7, 4])
    ids, of = torch.randint(0, 50, (3, 12)), torch.tensor([1, 0, 1])

    def ask(split):
        return [split.hidden_after([part[of] for part in split.states(openings)[1]], sizes[of], ids, ROWS, COLUMNS)]

    the_same(model, ask, monkeypatch)
    # And it is the whole row read at once.
    split = SplitModel(model)
    for row, (opening, n) in enumerate(zip(openings[of], sizes[of])):
        whole = split.hidden(torch.cat([opening[:n], ids[row]])[None])[0, n:]
        mine = row == ROWS
        torch.testing.assert_close(ask(split)[0][mine], whole[COLUMNS[mine]], rtol=1e-4, atol=1e-5)


def test_the_norms_gradient_is_that_of_its_formula():
    torch.manual_seed(0)
    x, weight = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((5, 6), (6,)))
    assert gradcheck(lambda x, weight: trunk._Norm.apply(x, weight, 1e-6), (x, weight))
    with torch.no_grad():
        torch.testing.assert_close(trunk._Norm.apply(x, weight, 1e-6), torch.nn.functional.rms_norm(x, (6,), weight, 1e-6))


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
