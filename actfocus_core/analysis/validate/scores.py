"""Checks of one stream: its masks, turns, log-probs and signals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from actfocus_core.trajectory import TokenKind, Trajectory, response_mask


def of_stream(t: Trajectory) -> Iterator[str]:
    """The names of the rules that apply to a trajectory as a whole."""
    if not len(t):
        yield "empty"
        return
    sampled = t.response_mask
    if not sampled.any():
        yield "nothing-sampled"
    elif not (t.kinds == TokenKind.ACTION).any():
        yield "no-action"
    if t.error:
        yield "errored"
    if (np.diff(t.turns) < 0).any() or t.turns.max() >= max(len(t.turn_records), 1) or t.turns.min() < -1:
        yield "turn-order"
    if not np.isfinite(t.ret):
        if t.trainable:
            yield "reward-nan"
    elif t.turn_records and not np.isclose(sum(r.reward for r in t.turn_records), t.reward, atol=1e-6):
        yield "return-turns"
    if is_mixed(t):
        yield "mixed-versions"


def is_mixed(t: Trajectory) -> bool:
    """Whether several versions of the policy sampled the trajectory, by token or by the versions at its start and end."""
    if t.policy_version is not None:
        versions = t.policy_version[t.response_mask & (t.policy_version >= 0)]
        return len(versions) > 0 and bool((versions != versions[0]).any())
    # AReaL records the versions at the first and the last token alone.
    head, tail = t.columns.get("head_version"), t.columns.get("tail_version")
    return type(head) is int and type(tail) is int and head != tail


def of_scores(t: Trajectory, is_text: bool = False) -> Iterator[str]:
    """The names of the rules that apply to the scores of a trajectory with tokens.

    ``is_text``: the stream was made from text, so that replies may lack log-probs, or their last tokens.
    """
    scored, sampled = ~np.isnan(t.logprobs), t.response_mask
    unscored = _is_partly_scored(t, scored) if is_text else scored.any() and (~scored & sampled).any()
    if (scored & ~sampled).any() or unscored:
        yield "kinds-mask"
    if (t.logprobs[scored] > 1e-3).any() or np.isinf(t.logprobs).any():
        yield "logprob-value"
    for values in t.signals.values():
        on = ~np.isnan(values[sampled])
        if np.isinf(values).any() or (on.any() and not on.all()):
            yield "signal-value"
            return


def reply_spans(t: Trajectory) -> list[tuple[int, int]]:
    """The spans of consecutive sampled tokens, [start, end)."""
    edges = np.flatnonzero(np.diff(response_mask(t.kinds).astype(np.int8), prepend=0, append=0))
    return [(begin, end) for begin, end in edges.reshape(-1, 2).tolist()]


def _is_partly_scored(t: Trajectory, scored: np.ndarray) -> bool:
    """Whether a reply has tokens with log-probs and others without; servers give none for the token that ends it."""
    replies = (scored[begin:end] for begin, end in reply_spans(t))
    return any(reply.any() and not reply[:-1].all() for reply in replies)
