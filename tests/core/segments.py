"""A trajectory that uses every field of the data model, and how two of them are compared."""

from __future__ import annotations

import numpy as np

from actfocus_core.trajectory import RECORDED, Trajectory, Turn

NAN = float("nan")
SAMPLED = [False, False, True, True, True, False, True, True]


def full(id: str = "a-1", **changes) -> Trajectory:
    """8 tokens in 2 turns; tokens 2, 3, 4, 6 and 7 are sampled, the first 4 shared with segment 0."""
    written = np.array(SAMPLED)
    fields = dict(
        token_ids=range(8),
        kinds=[0, 1, 3, 4, 5, 1, 4, 5],
        turns=[-1, 0, 0, 0, 0, 1, 1, 1],
        logprobs=np.where(written, -0.5, NAN),
        texts=[f"t{k}" for k in range(8)],
        turn_records=[
            Turn(
                "see",
                "say",
                ["Up"],
                True,
                0.5,
                0.0,
                "k0",
                {"at": 0},
                messages=[{"role": "user", "content": "é \\ud800"}],
            ),
            Turn("see", "say", [], False, 0.5, -0.25, "k1", {}, tools=[{"name": "f"}], calls=[]),
        ],
        signals={"entropy": np.where(written, 1.5, NAN)},
        group="a",
        env="sums",
        seed=-3,
        rollout=1,
        step=2,
        model="m",
        reward=1.0,
        penalty=-0.25,
        success=None,
        terminated=True,
        truncated=True,
        columns={"note": "x", "n": 1},
        rollout_id="a-r",
        segment=2,
        parent=(0, 4),
        agent="solver",
        trainable=True,
        in_loss=[False, False, True, True, False, False, True, False],
        recorded={name: np.where(written, k + 0.5, NAN) for k, name in enumerate(RECORDED)},
        policy_version=np.where(written, 7, -1),
        rewards={"right": (1.5, 1.0), "short": (-1.0, 0.5), "style": (NAN, NAN)},
        error="tool timed out",
        stop_reason="length",
    )
    return Trajectory(id, **{**fields, **changes})


def assert_same(a: Trajectory, b: Trajectory) -> None:
    """Every field is equal and of the same type; NaN equals NaN."""
    for name, value in vars(a).items():
        other = getattr(b, name)
        assert type(value) is type(other), name
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other, err_msg=name)
            assert value.dtype == other.dtype, name
        elif name in ("signals", "recorded"):
            assert value.keys() == other.keys(), name
            for one in value:
                np.testing.assert_array_equal(value[one], other[one], err_msg=one)
        else:
            assert repr(value) == repr(other), name
