"""Small rollouts as ChatML streams, of which one thing can be wrong."""

from __future__ import annotations

import re

import numpy as np

from actfocus_core.dialogue import response_kinds
from actfocus_core.spans import DEFAULT
from actfocus_core.trajectory import TokenKind, Trajectory, Turn

REPLY = "<think>the door is open</think><answer>left</answer>"
END = "<|im_end|>"
_PIECES = re.compile(r"<\|im_start\|>|<\|im_end\|>|<bos>|\n|\s?[\w]+|[^\w\s]+|\s")
_IDS: dict[str, int] = {}
"""Text of a token -> its id"""


def pieces(text: str) -> list[str]:
    return _PIECES.findall(text)


def rollout(
    id: str = "r0",
    replies: tuple[str, ...] = (REPLY, REPLY.replace("left", "right")),
    observations: tuple[str, ...] = ("Room A", "Room B"),
    *,
    start: str = "",
    end: str = "sampled",
    shift: int = 0,
    logprob: float = -0.5,
    end_logprob: float = -0.25,
    versions: tuple[int, ...] = (),
    **fields,
) -> Trajectory:
    """A dialogue of turns, each an observation and a reply.

    ``end``: the token after a reply is ``sampled``, ``context``, or ``none``. ``shift``: by how many tokens the response mask
    is shifted. ``versions``: the version of the policy that sampled each turn.
    """
    texts: list[str] = pieces(start)
    kinds: list[int] = [TokenKind.TEMPLATE] * len(texts)
    turns: list[int] = [-1] * len(texts)
    logprobs = [np.nan] * len(texts)

    def add(more: list[str], kind: int | list[int], turn: int, value: float = np.nan) -> None:
        texts.extend(more)
        kinds.extend(kind if isinstance(kind, list) else [kind] * len(more))
        turns.extend([turn] * len(more))
        logprobs.extend([value] * len(more))

    for turn, (observation, reply) in enumerate(zip(observations, replies)):
        add(pieces("<|im_start|>user\n"), TokenKind.TEMPLATE, turn)
        add(pieces(observation), TokenKind.USER, turn)
        add(pieces(f"{END}\n<|im_start|>assistant\n"), TokenKind.TEMPLATE, turn)
        words = pieces(reply)
        add(words, [int(kind) for kind in response_kinds(words, DEFAULT.find(reply, False))], turn, logprob)
        if end != "none":
            is_sampled = end == "sampled"
            kind = TokenKind.FORMAT if is_sampled else TokenKind.TEMPLATE
            add([END], kind, turn, end_logprob if is_sampled else np.nan)
        add(["\n"], TokenKind.TEMPLATE, turn)
    records = [Turn(o, r, [], True, 0.0, 0.0, "", {}) for o, r in zip(observations, replies)]
    fields = {"reward": 1.0, "group": "g", **fields}
    records[-1].reward = fields["reward"] if np.isfinite(fields["reward"]) else 0.0
    kinds_, logprobs_ = np.roll(kinds, shift), np.roll(logprobs, shift)
    version = None
    if versions:
        version = np.where(kinds_ >= TokenKind.REASONING, np.array(versions)[np.maximum(turns, 0)], -1)
    return Trajectory(
        id=id,
        token_ids=[_IDS.setdefault(text, len(_IDS)) for text in texts],
        kinds=kinds_,
        turns=turns,
        logprobs=logprobs_,
        texts=texts,
        turn_records=records,
        policy_version=version,
        **fields,
    )


def group(returns: list[float], advantages: list[float] | None = None, **fields) -> list[Trajectory]:
    """Rollouts of one prompt with these returns and recorded advantages; their replies differ."""
    found = [
        rollout(f"{fields.get('group', 'g')}-{n}", (REPLY, f"<answer>{n}</answer>"), reward=value, **fields)
        for n, value in enumerate(returns)
    ]
    for t, advantage in zip(found, advantages or []):
        t.signals["advantage"] = np.where(t.response_mask, np.float32(advantage), np.float32(np.nan))
    return found
