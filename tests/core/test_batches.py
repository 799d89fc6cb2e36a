"""Groups, mini-batches and micro-batches of a step."""

import numpy as np
import torch

from actfocus_core.train.batch import PADDING, minibatches
from actfocus_core.train.groups import filter_groups
from actfocus_core.trajectory import Trajectory
from tests.core.updates import training_batch


def test_a_micro_batch_holds_rows_of_like_length_on_a_cpu_and_all_that_fit_elsewhere(rollouts):
    batch, everyone = training_batch(rollouts), np.arange(len(rollouts))
    size = np.array([w[-1] + 1 for w in batch.where])
    near, far = (
        [micro.chosen for micro in batch.micro_batches(everyone, 2048, torch.device(name))] for name in ("cpu", "meta")
    )
    assert sorted(np.concatenate(near)) == sorted(np.concatenate(far)) == everyone.tolist()
    for chosen in near:
        assert all((size[b] - size[a]) * (i + 1) <= PADDING for i, (a, b) in enumerate(zip(chosen, chosen[1:])))
    assert len(near) > len(far)
    for chosen, following in zip(far, far[1:]):
        assert size[chosen[-1]] * len(chosen) <= 2048 < size[following[0]] * (len(chosen) + 1)


def test_the_groups_with_the_largest_spread_are_selected():
    def group(name, *returns):
        return [
            Trajectory(f"{name}{i}", [1], [3], [0], [0.0], [""], group=name, reward=r) for i, r in enumerate(returns)
        ]

    trajectories = group("a", 1, 1) + group("b", 0, 1) + group("c", 0, 0.5) + group("d", 0, 0)
    for share, kept in ((1.0, "abcd"), (0.5, "bc"), (0.25, "b"), (0.01, "b"), (0.75, "abc")):
        assert "".join(dict.fromkeys(t.group for t in filter_groups(trajectories, share))) == kept


def test_mini_batches_divide_the_trajectories_and_depend_on_seed_step_and_epoch_alone():
    parts = minibatches(70, 32, 1, 2, 0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(70)) and max(map(len, parts)) <= 32
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all(np.array_equal(a, b) for a, b in zip(parts, minibatches(70, 32, 1, 2, 0)))
    assert not np.array_equal(parts[0], minibatches(70, 32, 1, 3, 0)[0])
