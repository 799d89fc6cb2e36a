"""What is wrong with ids, log-probs, signals and versions, and what only looks like it."""

import dataclasses

import numpy as np
import pytest

from tests.doctor.dialogues import REPLY, group, rollout

LLAMA = "<|begin_of_text|>"


def _scored(t, name, value):
    """The rollout with a signal: a value, or a function of the sampled log-probs."""
    values = value(t.logprobs) if callable(value) else np.full(len(t), value, np.float32)
    t.signals[name] = np.where(t.response_mask, values, np.nan).astype(np.float32)
    return t


def _long(id="r0", **more):
    """More than fifty sampled tokens, with log-probs that differ."""
    t = rollout(id, (REPLY,) * 6, tuple(f"Room {n}" for n in range(6)), **more)
    noise = np.random.default_rng(0).normal(-1.0, 0.3, len(t))
    t.logprobs = np.where(t.response_mask, np.minimum(noise, -0.01), np.nan).astype(np.float32)
    return t


def _noisy(logprobs):
    return logprobs + np.random.default_rng(1).normal(0.0, 0.05, len(logprobs))


def _holes(t, name):
    t.signals[name] = np.where(np.arange(len(t)) % 2 == 0, t.logprobs, np.nan).astype(np.float32)
    return t


def _set(t, **arrays):
    for name, change in arrays.items():
        setattr(t, name, change(np.array(getattr(t, name))))
    return t


def _first_sampled(value):
    def change(logprobs):
        logprobs[np.flatnonzero(np.isfinite(logprobs))[0]] = value
        return logprobs

    return change


CASES = {
    "double-bos": (
        lambda: [rollout(start="<bos><bos>")],
        [
            lambda: [rollout(start="<bos>")],
            lambda: [rollout()],
            # Twice the same word is no token that begins a sequence.
            lambda: [rollout(start="go go".replace(" ", ""), observations=("go go", "b"))],
        ],
    ),
    "kinds-mask": (
        lambda: [_set(rollout(), logprobs=lambda values: np.roll(values, 1))],
        [
            lambda: [rollout()],
            lambda: [_set(rollout(), logprobs=lambda values: np.full_like(values, np.nan))],
            lambda: [rollout(logprob=0.0)],
        ],
    ),
    "logprob-value": (
        lambda: [_set(rollout(), logprobs=_first_sampled(0.5))],
        [
            lambda: [rollout()],
            lambda: [rollout(logprob=0.0)],
            # Rounding of float16.
            lambda: [_set(rollout(), logprobs=_first_sampled(0.0009))],
        ],
    ),
    "signal-value": (
        lambda: [_holes(rollout(), "entropy")],
        [
            lambda: [rollout()],
            lambda: [_scored(rollout(), "entropy", 1.0)],
            lambda: [_scored(rollout(), "entropy", np.nan)],
        ],
    ),
    "missing-signals": (
        lambda: [_scored(rollout("a"), "entropy", 1.0), rollout("b", replies=(REPLY,))],
        [
            lambda: [rollout("a"), rollout("b")],
            lambda: [_scored(rollout(name), "entropy", 1.0) for name in "ab"],
            # A judge is not trained, and has no scores.
            lambda: [_scored(rollout("a"), "entropy", 1.0), rollout("b", agent="judge", trainable=False)],
        ],
    ),
    "no-logprobs": (
        lambda: [_set(rollout(), logprobs=lambda values: np.full_like(values, np.nan))],
        [
            lambda: [rollout()],
            lambda: [rollout(logprob=0.0, end_logprob=0.0)],
            lambda: [rollout("a"), _set(rollout("b"), logprobs=lambda values: np.full_like(values, np.nan))],
        ],
    ),
    "logprob-offset": (
        lambda: [_scored(_long(), "trainer_logprob", lambda values: values - 0.1)],
        [
            lambda: [_scored(_long(), "trainer_logprob", lambda values: values)],
            lambda: [_scored(_long(), "trainer_logprob", _noisy)],
            # One-sided and smaller than what matters.
            lambda: [_scored(_long(), "trainer_logprob", lambda values: values - 0.001)],
        ],
    ),
    "mixed-versions": (
        lambda: [rollout(versions=(3, 4))],
        [
            lambda: [rollout(versions=(3, 3))],
            lambda: [rollout()],
            lambda: [rollout("a", versions=(3, 3)), rollout("b", versions=(4, 4))],
        ],
    ),
    "turn-order": (
        lambda: [_set(rollout(), turns=lambda turns: turns[::-1])],
        [lambda: [rollout()], lambda: [rollout(replies=(REPLY,))], lambda: group([0.0, 1.0])],
    ),
    "duplicate": (
        lambda: [rollout("a"), rollout("b")],
        [
            lambda: [rollout("a"), rollout("b", replies=(REPLY,))],
            lambda: [rollout("a"), rollout("b", group="other")],
            lambda: [rollout("a"), rollout("b", observations=("Room A", "Room C"))],
        ],
    ),
}


@pytest.mark.parametrize("rule", CASES)
def test_it_is_found(rule, doctor):
    found = doctor(CASES[rule][0]())
    assert found[rule].count >= 1 and found[rule].examples


@pytest.mark.parametrize(("rule", "number"), [(rule, n) for rule in CASES for n in range(3)])
def test_what_looks_like_it_is_not(rule, number, doctor):
    assert rule not in doctor(CASES[rule][1][number]())


def test_versions_at_both_ends_alone_are_enough(doctor):
    found = doctor([rollout("a", columns={"head_version": 3, "tail_version": 5}), rollout("b", replies=(REPLY,))])
    assert (found["mixed-versions"].count, found["mixed-versions"].examples) == (1, ["a"])


def test_the_offset_is_told_with_its_direction_and_the_rollouts_that_show_it(doctor):
    above = _scored(_long("a"), "trainer_logprob", lambda values: values + 0.1)
    finding = doctor([above, _long("b")])["logprob-offset"]
    assert "are above, by 0.100 nats" in finding.message and finding.examples == ["a"]


@pytest.mark.parametrize("twice", [False, True])
def test_a_second_beginning_is_found_by_the_tokenizer_too(twice, tiny, rollouts, doctor):
    tokenizer = tiny.tokenizer
    tokenizer.bos_token = tokenizer.eos_token if twice else None
    try:
        t = rollouts[0]
        more = [tokenizer.eos_token_id] * 2 if twice else []
        longer = dataclasses.replace(
            t,
            token_ids=np.concatenate([more, t.token_ids]).astype(np.int32),
            texts=[tokenizer.decode([id]) for id in more] + t.texts,
            **{
                name: np.concatenate([np.full(len(more), blank), getattr(t, name)])
                for name, blank in (("kinds", 2), ("turns", -1), ("logprobs", np.nan))
            },
            signals={},
            alternatives=None,
        )
        assert ("double-bos" in doctor([longer], tokenizer=tokenizer)) == twice
    finally:
        tokenizer.bos_token = None
