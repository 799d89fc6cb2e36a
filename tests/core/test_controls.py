"""The null controls."""

import numpy as np
import pytest

from actfocus_core.credit import get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.trajectory import TokenKind

from .batches import made, split


def test_shuffle_keeps_what_each_kind_of_a_trajectory_has():
    ts, batch = made(7, rollouts=8, states=1)
    for name in ("actfocus", "top_entropy", "empg", "carl"):
        real, moved = (get_scheme(n).compute(batch) for n in (name, f"shuffle:{name}"))
        assert not np.array_equal(real.signed, moved.signed)
        for t, a, b in zip(ts, split(real.signed, ts), split(moved.signed, ts)):
            for kind in (3, 4, 5):
                np.testing.assert_allclose(np.sort(a[t.kinds == kind]), np.sort(b[t.kinds == kind]), atol=1e-6)


def test_random_keeps_the_histogram_and_forgets_the_kinds():
    _, batch = made(8, groups=20, rollouts=8)
    real, moved = (get_scheme(n).compute(batch) for n in ("actfocus", "random:actfocus"))
    np.testing.assert_array_equal(np.sort(real.weight), np.sort(moved.weight))
    np.testing.assert_array_equal(real.advantage, moved.advantage)
    means = [moved.weight[batch.kinds == kind].mean() for kind in (3, 4, 5)]
    assert np.ptp(means) < 0.15 < real.weight[batch.kinds == 4].mean() - real.weight[batch.kinds == 3].mean()


def test_reversed_turns_the_order_within_a_kind():
    _, batch = made(9)
    real, turned = (get_scheme(n).compute(batch) for n in ("actfocus", "reversed:actfocus"))
    action = batch.kinds == TokenKind.ACTION
    np.testing.assert_allclose(np.sort(real.weight[action]), np.sort(turned.weight[action]), rtol=1e-5)
    assert np.argmax(real.weight[action]) == np.argmin(turned.weight[action])
    np.testing.assert_allclose(turned.weight[batch.kinds == TokenKind.REASONING], 0.1, rtol=1e-5)


def test_a_control_has_its_seed_and_its_schemes_parameters():
    _, batch = made()
    one, same, other = (
        get_scheme("shuffle:actfocus").compute(batch, alpha=0.3, control_seed=s).weight for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other) and (one[batch.kinds == 3] == np.float32(0.3)).all()
    with pytest.raises(ActFocusError, match="unknown control 'mirror'"):
        get_scheme("mirror:actfocus")
    with pytest.raises(ActFocusError, match="unknown control"):
        get_scheme("shuffle:shuffle:actfocus")
