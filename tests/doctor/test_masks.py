"""What is wrong with the mask and the borders of replies, and what only looks like it."""

import numpy as np
import pytest

from actfocus_core.trajectory import TokenKind
from tests.doctor.dialogues import REPLY, group, rollout

CUT = "<think>the door is"


def _all_sampled(t):
    t.kinds = np.full(len(t), TokenKind.FORMAT, np.uint8)
    return t


def _none_sampled(t):
    t.kinds = np.where(t.response_mask, TokenKind.TEMPLATE, t.kinds)
    return t


def _out_of_loss(t):
    t.in_loss = np.zeros(len(t), bool)
    return t


def _with_header(t):
    """The header of the first reply is marked as sampled."""
    t.kinds[: np.flatnonzero(t.response_mask)[0]][-3:] = TokenKind.FORMAT
    return t


def _late_start(t):
    """The first tokens of the replies were written by the environment."""
    for turn in range(2):
        t.kinds[np.flatnonzero(t.response_mask & (t.turns == turn))[0]] = TokenKind.TEMPLATE
    return t


def _emptied(t):
    for name in ("token_ids", "kinds", "turns", "logprobs"):
        setattr(t, name, getattr(t, name)[:0])
    t.texts = []
    return t


CASES = {
    "nothing-sampled": (
        lambda: [_none_sampled(rollout())],
        [lambda: [rollout()], lambda: [_out_of_loss(rollout())], lambda: [rollout(replies=("ok",))]],
    ),
    "template-in-loss": (
        lambda: [_all_sampled(rollout())],
        [
            lambda: [rollout()],
            lambda: [rollout(end="context")],
            # What the reply says of roles, not on a line of its own.
            lambda: [rollout(replies=("<answer>the user and the assistant</answer>",))],
        ],
    ),
    "mask-shifted": (
        lambda: [rollout(shift=-1)],
        [lambda: [rollout()], lambda: [rollout(end="context")], lambda: [_late_start(rollout())]],
    ),
    "end-token-out-of-loss": (
        lambda: [rollout(end="context")],
        [
            lambda: [rollout()],
            lambda: [rollout(replies=(CUT,), end="none", truncated=True)],
            # Some turns end at a stop string; most do not.
            lambda: [rollout("a"), rollout("b"), rollout("c", end="context")],
        ],
    ),
    "end-token-missing": (
        lambda: [rollout(end="none")],
        [
            lambda: [rollout()],
            lambda: [rollout(replies=(CUT,), end="none", truncated=True)],
            lambda: [rollout(replies=(CUT,), end="none", error="the server is gone")],
        ],
    ),
    "end-token-invented": (
        lambda: [rollout(end_logprob=0.0)],
        [
            lambda: [rollout()],
            # All of the policy's tokens are certain.
            lambda: [rollout(end_logprob=0.0, logprob=0.0)],
            lambda: [rollout("a", end_logprob=0.0), rollout("b"), rollout("c")],
        ],
    ),
    "truncated-answer": (
        lambda: [rollout(replies=(CUT,), end="none", truncated=True)],
        [
            lambda: [rollout()],
            lambda: [rollout(truncated=True)],
            lambda: [rollout(replies=("<answer>left</answer>",), end="context")],
        ],
    ),
    "kinds-spans": (
        lambda: [_all_sampled(rollout(replies=(REPLY,)))],
        [
            lambda: [rollout()],
            lambda: [rollout(replies=("left",))],
            lambda: [rollout(replies=("<answer>left</answer> <answer>right</answer>",))],
        ],
    ),
    "no-action": (
        lambda: [rollout(replies=("go left", "go right"))],
        [lambda: [rollout()], lambda: [rollout(replies=("left", REPLY))], lambda: [_none_sampled(rollout())]],
    ),
    "repeated-reply": (
        lambda: [rollout(replies=(REPLY,) * 4, observations=("Room A",) * 4)],
        [
            lambda: [rollout(replies=(REPLY,) * 2, observations=("Room A",) * 2)],
            # The same step through one room after another.
            lambda: [rollout(replies=(REPLY,) * 4, observations=("Room A", "Room B", "Room C", "Room D"))],
            lambda: [rollout(replies=(REPLY, "<answer>b</answer>") * 3, observations=("Room A",) * 6)],
        ],
    ),
    "errored": (
        lambda: [rollout(error="timeout")],
        [lambda: [rollout()], lambda: [rollout(truncated=True)], lambda: [rollout(stop_reason="error")]],
    ),
    "empty": (
        lambda: [_emptied(rollout())],
        [lambda: [rollout()], lambda: [rollout(replies=("a",))], lambda: group([0.0, 1.0])],
    ),
}


@pytest.mark.parametrize("rule", CASES)
def test_it_is_found(rule, doctor):
    found = doctor(CASES[rule][0]())
    assert found[rule].count >= 1 and found[rule].examples[0] == "r0"


@pytest.mark.parametrize(("rule", "number"), [(rule, n) for rule in CASES for n in range(3)])
def test_what_looks_like_it_is_not(rule, number, doctor):
    assert rule not in doctor(CASES[rule][1][number]())


@pytest.mark.parametrize("shift", [-3, -2, -1, 1, 2, 3])
def test_a_shift_is_told_with_its_size_and_direction(shift, doctor):
    finding = doctor([rollout(shift=shift)])["mask-shifted"]
    side = "early" if shift < 0 else "late"
    assert f"{abs(shift)} token{'s' * (abs(shift) > 1)} too {side}" in finding.message and finding.severity == "error"


def test_a_header_in_the_loss_is_no_shift(doctor):
    found = doctor([_with_header(rollout())])
    assert "template-in-loss" in found and "mask-shifted" not in found


@pytest.mark.parametrize("end", ["context", "none"])
def test_ends_say_nothing_if_the_text_was_tokenised_again(end, doctor):
    found = doctor([rollout(end=end)], config={"command": "import", "approximate": True})
    assert not {"end-token-out-of-loss", "end-token-missing"} & set(found)


def test_eight_equal_replies_are_repeated_whatever_the_environment_says(doctor):
    rooms = tuple(f"Room {n}" for n in range(13))
    assert "13 times" in doctor([rollout(replies=("go",) * 13, observations=rooms)])["repeated-reply"].message
