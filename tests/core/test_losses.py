"""The loss of method.md section 4 against the textbook and against its own identities."""

import numpy as np
import pytest
import torch

from actfocus_core.advantages import gae
from actfocus_core.errors import ActFocusError
from actfocus_core.losses import masked_mean, normalisers, policy_loss, reference_kl, value_loss


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(3)
    shape = (5, 11)
    logprobs = (torch.randn(shape, generator=g) * 0.5 - 1).requires_grad_()
    return {
        "logprobs": logprobs,
        "old_logprobs": logprobs.detach() + torch.randn(shape, generator=g) * 0.3,
        "advantages": torch.randn(shape, generator=g),
        "weights": torch.rand(shape, generator=g) * 1.5,
        "mask": (torch.rand(shape, generator=g) < 0.7).float(),
    }


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
    (whole,) = torch.autograd.grad(policy_loss(**batch).loss, batch["logprobs"])
    total = (batch["weights"] * batch["mask"]).sum()
    for rows in ([[0, 1], [2, 3, 4]], [[4], [2], [0], [1], [3]]):
        parts = sum(policy_loss(**{k: v[r] for k, v in batch.items()}, normaliser=total).loss for r in rows)
        torch.testing.assert_close(torch.autograd.grad(parts, batch["logprobs"])[0], whole, rtol=1e-5, atol=1e-8)


def test_padding_changes_nothing_even_where_it_is_nan(batch):
    plain = policy_loss(**batch)
    pad = {"mask": 0.0}
    padded = {
        k: torch.cat([v, torch.full((5, 3), pad.get(k, float("nan") if "log" in k else 9.0))], 1)
        for k, v in batch.items()
    }
    again = policy_loss(**padded)
    for a, b in zip(vars(plain).values(), vars(again).values()):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    assert torch.isfinite(torch.autograd.grad(again.loss, batch["logprobs"])[0]).all()


def test_the_gradient_at_ratio_one_is_the_effective_credit(batch):
    batch["old_logprobs"] = batch["logprobs"].detach()
    (gradient,) = torch.autograd.grad(policy_loss(**batch).loss, batch["logprobs"])
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


def test_the_gradient_is_the_numerical_one(batch):
    """Float64, ratios away from the corners of the clip."""
    exact = {k: v.detach().double() for k, v in batch.items()}
    exact["logprobs"].requires_grad_()
    units = torch.arange(5)[:, None].expand(5, 11)

    def loss(logprobs):
        everything = policy_loss(**{**exact, "logprobs": logprobs}).loss
        by_unit = policy_loss(**{**exact, "logprobs": logprobs}, units=units, clip_scale=exact["weights"]).loss
        kl = sum(reference_kl(logprobs, exact["old_logprobs"], exact["mask"], kind) for kind in ("k1", "k2", "k3"))
        return everything + by_unit + 0.1 * kl

    assert torch.autograd.gradcheck(loss, (exact["logprobs"],))


def test_a_clip_scale_of_one_half_is_half_the_clip_range(batch):
    half = policy_loss(**batch, clip_scale=torch.full((5, 11), 0.5))
    narrow = policy_loss(**batch, clip_low=0.1, clip_high=0.14)
    for a, b in zip(vars(half).values(), vars(narrow).values()):
        torch.testing.assert_close(a, b)


def test_the_ratio_of_a_unit_is_the_geometric_mean_over_its_response_tokens(batch):
    units = torch.arange(5)[:, None].expand(5, 11)
    log_ratio = ((batch["logprobs"] - batch["old_logprobs"]) * batch["mask"]).sum(1) / batch["mask"].sum(1)
    rho = log_ratio.exp()[:, None]
    surrogate = torch.minimum(rho * batch["advantages"], rho.clamp(0.8, 1.28) * batch["advantages"])
    w = batch["weights"] * batch["mask"]
    torch.testing.assert_close(policy_loss(**batch, units=units).loss, -(w * surrogate).sum() / w.sum())


@pytest.mark.parametrize("scope", ["minibatch", "trajectory", "batch"])
def test_every_scope_against_its_definition(batch, scope):
    """The mean of the mini-batches' losses, written out."""
    rows = [np.array([0, 3]), np.array([1, 2, 4])]
    w = batch["weights"] * batch["mask"]
    z = torch.tensor(normalisers(w.sum(1).detach().numpy(), rows, scope), dtype=torch.float32)
    one = z[:, None].expand(5, 11)
    losses = [policy_loss(**{k: v[r] for k, v in batch.items()}, normaliser=one[r]).loss for r in rows]
    rho = (batch["logprobs"] - batch["old_logprobs"]).exp()
    terms = -w * torch.minimum(rho * batch["advantages"], rho.clamp(0.8, 1.28) * batch["advantages"])
    if scope == "minibatch":
        expected = [terms[r].sum() / w[r].sum() for r in rows]
    elif scope == "trajectory":
        expected = [(terms[r].sum(1) / w[r].sum(1)).mean() for r in rows]
    else:
        expected = [terms[r].sum() * 2 / w.sum() for r in rows]
        torch.testing.assert_close(sum(losses) / 2, policy_loss(**batch).loss)
    for a, b in zip(losses, expected):
        torch.testing.assert_close(a, b)


def test_a_batch_without_weight_divides_by_one():
    assert normalisers(np.zeros(2), [np.array([0, 1])], "minibatch").tolist() == [1, 1]
    # A constant does not look at the masses; each mini-batch has its share of it.
    parts = [np.array([0, 2, 3]), np.array([1])]
    assert normalisers(np.array([5.0, 1, 0, 7]), parts, "minibatch", divisor=80.0).tolist() == [60, 20, 60, 60]
    with pytest.raises(ActFocusError, match="normaliser 'token'"):
        normalisers(np.ones(2), [np.array([0, 1])], "token")


def test_kl_estimators_against_the_kl_of_two_distributions():
    """Averaged over the policy's own distribution, k1 and k3 are the KL exactly, k2 nearly."""
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.4, 0.35, 0.25])
    exact = (p * (p / q).log()).sum().item()
    got = {
        kind: sum(p[y] * reference_kl(p[y].log()[None], q[y].log()[None], torch.ones(1), kind) for y in range(3)).item()
        for kind in ("k1", "k2", "k3")
    }
    assert got["k1"] == pytest.approx(exact, rel=1e-5) and got["k3"] == pytest.approx(exact, rel=1e-5)
    assert got["k2"] == pytest.approx(exact, rel=0.1)
    with pytest.raises(ActFocusError, match="kl kind 'k4'"):
        reference_kl(p.log(), q.log(), torch.ones(3), "k4")


def test_a_clipped_value_counts_with_the_larger_error():
    values, old, targets = torch.tensor([2.0, 0.1, 9.0]), torch.tensor([0.0, 0.0, 0.0]), torch.tensor([2.0, 1.0, 0.0])
    mask = torch.tensor([1.0, 1.0, 0.0])
    # Unclipped: 0 and 0.81. Clipped to 0.2: (0.2 - 2)^2 = 3.24 for the first, which is larger.
    assert value_loss(values, old, targets, mask).item() == pytest.approx((0 + 0.81) / 4)
    assert value_loss(values, old, targets, mask, clip=0.2).item() == pytest.approx((3.24 + 0.81) / 4)
    assert value_loss(values, old, targets, mask, normaliser=10.0).item() == pytest.approx(0.81 / 20)
    with pytest.raises(ActFocusError, match="value clip 0"):
        value_loss(values, old, targets, mask, clip=0)


def test_what_is_outside_the_mask_never_reaches_a_mean():
    values = torch.tensor([1.0, float("nan"), 3.0], requires_grad=True)
    mean = masked_mean(values, torch.tensor([1.0, 0.0, 1.0]))
    mean.backward()
    assert mean.item() == 2 and values.grad.tolist() == [0.5, 0, 0.5]


# --- beyond what a dtype can hold --------------------------------------------------------------

HALF = [torch.float32, torch.float16, torch.bfloat16]
NAN = float("nan")


def gradient(loss, at):
    (grad,) = torch.autograd.grad(loss, at, retain_graph=True)
    return grad


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize(
    ("weight", "advantage", "mask"),
    [
        (1.0, 1.0, 1.0),
        (1.0, 3.0, 1.0),
        (1.0, 0.0, 1.0),
        (0.0, 1.0, 1.0),
        (0.0, -3.0, 1.0),
        (1.0, 1.0, 0.0),
        (1.0, -3.0, 0.0),
    ],
)
def test_an_overflowing_ratio_without_gradient_leaves_the_other_tokens_theirs(dtype, weight, advantage, mask):
    """Clipped with A > 0, of no advantage, of no weight, or outside the mask: the loss has its term and the gradient none."""
    new = torch.tensor([-1.0, -1.0], dtype=dtype, requires_grad=True)
    old = torch.tensor([-201.0, -1.5], dtype=dtype)
    weights, advantages, inside = (torch.tensor([first, 1.0], dtype=dtype) for first in (weight, advantage, mask))
    found = policy_loss(new, old, advantages, weights, inside, normaliser=2.0)
    # At a log-ratio of 10 the first token's ratio is 22,026, which every one of these types holds.
    inner = policy_loss(new, torch.tensor([-11.0, -1.5], dtype=dtype), advantages, weights, inside, normaliser=2.0)
    assert torch.isfinite(found.loss) and found.loss == inner.loss
    assert torch.equal(gradient(found.loss, new), gradient(inner.loss, new)) and gradient(found.loss, new)[0] == 0
    assert not torch.isnan(torch.stack([found.clip_low, found.clip_high, found.approx_kl])).any()
    # The same where the units are tokens.
    alone = policy_loss(new, old, advantages, weights, inside, normaliser=2.0, units=torch.arange(2))
    assert alone.loss == found.loss and torch.equal(gradient(alone.loss, new), gradient(found.loss, new))


@pytest.mark.parametrize("dtype", HALF)
def test_a_unit_whose_ratio_overflows_is_clipped_like_a_token(dtype):
    new = torch.full((2, 3), -1.0, dtype=dtype, requires_grad=True)
    old = torch.tensor([[-301.0, -1.0, NAN], [-1.0, -1.0, -1.0]], dtype=dtype)
    mask, units = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]], dtype=dtype), torch.tensor([[0, 0, 0], [1, 1, 1]])
    found = policy_loss(new, old, torch.ones_like(mask), torch.ones_like(mask), mask, units=units)
    assert found.loss.item() == pytest.approx(-(2 * 1.28 + 3) / 5, rel=1e-2)
    assert gradient(found.loss, new)[0].tolist() == [0, 0, 0] and (gradient(found.loss, new)[1] < 0).all()


@pytest.mark.parametrize("dtype", HALF)
def test_an_overflowing_loss_is_enormous_and_never_left_out(dtype):
    """With A < 0 a large ratio is not clipped, and a gradient of 0 would silently drop the token that moved furthest."""
    new = torch.tensor([-1.0, -1.0], dtype=dtype, requires_grad=True)
    old, ones, enormous = (
        torch.tensor([-201.0, -1.5], dtype=dtype),
        torch.ones(2, dtype=dtype),
        torch.finfo(dtype).max / 4,
    )
    for loss in (
        policy_loss(new, old, -ones, ones, ones).loss,
        policy_loss(new, old, -3 * ones, ones, ones).loss,
        reference_kl(new, new.detach() + torch.tensor([200.0, 0.0], dtype=dtype), ones),
    ):
        assert loss >= enormous
        assert not torch.isnan(gradient(loss, new)).any() and gradient(loss, new)[0].abs() >= enormous


def test_where_the_policy_has_no_probability_left_the_divergence_is_not_negative():
    new, reference, one = torch.tensor([-float("inf")]), torch.tensor([-1.0]), torch.ones(1)
    assert reference_kl(new, reference, one, "k3") > 1e38
    assert policy_loss(reference, new, one, one, one).approx_kl > 1e38


def test_nothing_outside_the_mask_reaches_a_result_or_a_gradient(batch):
    inside = batch["mask"] > 0
    astray = {
        k: torch.where(inside, v.detach(), NAN).requires_grad_(k == "logprobs") for k, v in batch.items() if k != "mask"
    }
    z = torch.where(inside, 3.0, 0.0)
    units = torch.arange(5)[:, None].expand(5, 11)
    for more in ({}, {"normaliser": z}, {"units": units}, {"clip_scale": astray["weights"]}):
        found = policy_loss(**astray, mask=batch["mask"], **more)
        plain = policy_loss(
            **batch,
            **(
                {"clip_scale": batch["weights"]}
                if "clip_scale" in more
                else {**more, "normaliser": 3.0}
                if "normaliser" in more
                else more
            ),
        )
        torch.testing.assert_close(found.loss, plain.loss)
        assert all(torch.isfinite(value) for value in vars(found).values())
        torch.testing.assert_close(gradient(found.loss, astray["logprobs"]), gradient(plain.loss, batch["logprobs"]))
    for clip in (None, 0.2):
        found = value_loss(astray["logprobs"], astray["old_logprobs"], astray["advantages"], batch["mask"], clip)
        plain = value_loss(batch["logprobs"], batch["old_logprobs"], batch["advantages"], batch["mask"], clip)
        assert found == plain and torch.equal(gradient(found, astray["logprobs"]), gradient(plain, batch["logprobs"]))
    for kind in ("k1", "k2", "k3"):
        found = reference_kl(astray["logprobs"], astray["old_logprobs"], batch["mask"], kind)
        plain = reference_kl(batch["logprobs"], batch["old_logprobs"], batch["mask"], kind)
        assert found == plain and torch.equal(gradient(found, astray["logprobs"]), gradient(plain, batch["logprobs"]))


@pytest.mark.parametrize("without", ["mask", "weights"])
def test_a_loss_over_no_token_at_all_is_zero(batch, without):
    batch[without] = torch.zeros(5, 11)
    for units in (None, torch.arange(5)[:, None].expand(5, 11)):
        found = policy_loss(**batch, units=units)
        assert found.loss == 0 and torch.equal(gradient(found.loss, batch["logprobs"]), torch.zeros(5, 11))
    if without == "mask":
        assert value_loss(batch["logprobs"], batch["old_logprobs"], batch["advantages"], batch["mask"]) == 0
