"""The loss of method.md section 4 against the textbook and against its own identities."""

import numpy as np
import pytest
import torch

from actfocus_core.advantages import gae
from actfocus_core.errors import ActFocusError
from actfocus_core.losses import policy_loss


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(3)
    shape = (5, 11)
    logprobs = (torch.randn(shape, generator=g) * 0.5 - 1).requires_grad_()
    return {"logprobs": logprobs, "old_logprobs": logprobs.detach() + torch.randn(shape, generator=g) * 0.3,
            "advantages": torch.randn(shape, generator=g), "weights": torch.rand(shape, generator=g) * 1.5,
            "mask": (torch.rand(shape, generator=g) < 0.7).float()}


def _textbook(logprobs, old_logprobs, advantages, mask, low=0.2, high=0.28):
    ratio = torch.exp(logprobs - old_logprobs)
    surrogate = torch.minimum(ratio * advantages, torch.clamp(ratio, 1 - low, 1 + high) * advantages)
    return -(surrogate * mask).sum() / mask.sum()


def test_uniform_is_the_textbook_loss_bit_for_bit(batch):
    batch["weights"] = torch.ones_like(batch["weights"])
    expected = _textbook(*(batch[k] for k in ("logprobs", "old_logprobs", "advantages", "mask")))
    assert policy_loss(**batch).loss.item() == expected.item()


def test_weights_may_travel_inside_the_advantages(batch):
    """method.md section 4: w N / sum(w) times the advantage in an ordinary token-mean loss."""
    scale = batch["weights"] * batch["mask"].sum() / (batch["weights"] * batch["mask"]).sum()
    carried = _textbook(batch["logprobs"], batch["old_logprobs"], batch["advantages"] * scale, batch["mask"])
    torch.testing.assert_close(policy_loss(**batch).loss, carried, rtol=1e-6, atol=1e-7)


def test_any_split_gives_the_same_gradient(batch):
    whole, = torch.autograd.grad(policy_loss(**batch).loss, batch["logprobs"])
    total = (batch["weights"] * batch["mask"]).sum()
    for rows in ([[0, 1], [2, 3, 4]], [[4], [2], [0], [1], [3]]):
        parts = sum(policy_loss(**{k: v[r] for k, v in batch.items()}, normaliser=total).loss for r in rows)
        torch.testing.assert_close(torch.autograd.grad(parts, batch["logprobs"])[0], whole, rtol=1e-5, atol=1e-8)


def test_padding_changes_nothing_even_where_it_is_nan(batch):
    plain = policy_loss(**batch)
    pad = {"mask": 0.0}
    padded = {k: torch.cat([v, torch.full((5, 3), pad.get(k, float("nan") if "log" in k else 9.0))], 1)
              for k, v in batch.items()}
    again = policy_loss(**padded)
    for a, b in zip(vars(plain).values(), vars(again).values()):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    assert torch.isfinite(torch.autograd.grad(again.loss, batch["logprobs"])[0]).all()


def test_the_gradient_at_ratio_one_is_the_effective_credit(batch):
    batch["old_logprobs"] = batch["logprobs"].detach()
    gradient, = torch.autograd.grad(policy_loss(**batch).loss, batch["logprobs"])
    mass = batch["weights"] * batch["mask"]
    torch.testing.assert_close(gradient, -mass * batch["advantages"] / mass.sum())


def test_the_numerical_gradient(batch):
    double = {k: v.detach().double() for k, v in batch.items()}
    double["logprobs"].requires_grad_()
    others = {k: v for k, v in double.items() if k != "logprobs"}
    assert torch.autograd.gradcheck(lambda x: policy_loss(x, **others).loss, double["logprobs"])


def test_clipping_is_asymmetric_and_counted():
    old, mask, ones = torch.zeros(4), torch.ones(4), torch.ones(4)
    new = torch.tensor([1.25, 1.30, 0.75, 0.85]).log()
    result = policy_loss(new, old, torch.tensor([1.0, 1.0, -1.0, -1.0]), ones, mask)
    assert (result.clip_high.item(), result.clip_low.item()) == (0.25, 0.25)
    assert result.loss.item() == pytest.approx(-(1.25 + 1.28 - 0.8 - 0.85) / 4)


def test_a_negative_clip_range_is_refused(batch):
    with pytest.raises(ActFocusError, match="clip_low=-1"):
        policy_loss(**batch, clip_low=-1)


@pytest.mark.parametrize(("gamma", "lam"), [(1, 1), (0.9, 1), (0.99, 0.95), (1, 0), (0, 0.5)])
def test_gae_against_the_double_sum(gamma, lam):
    rng = np.random.default_rng(1)
    r, v = rng.normal(size=9), rng.normal(size=9)
    after = np.append(v[1:], 0)
    slow = [sum((gamma * lam) ** (k - t) * (r[k] + gamma * after[k] - v[k]) for k in range(t, 9)) for t in range(9)]
    advantages, targets = gae(r, v, gamma, lam)
    np.testing.assert_allclose(advantages, slow, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(targets, slow + v, rtol=1e-5, atol=1e-6)


def test_gae_at_one_one_is_the_return_to_go_minus_the_value():
    r, v = np.array([0, 0, 1.0]), np.array([0.2, 0.4, 0.9])
    advantages, targets = gae(r, v)
    np.testing.assert_allclose(advantages, 1 - v, rtol=1e-6)
    np.testing.assert_allclose(targets, 1)
