"""The contexts of a rollout from its turns, each of which repeats the dialogue so far: exact ids, or messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from actfocus_core.interop.messages import Message
from actfocus_core.interop.samples import Tokens


def turn(
    prompt: np.ndarray,
    reply: np.ndarray,
    logprobs: np.ndarray | None = None,
    signals: dict[str, np.ndarray] | None = None,
) -> tuple[Tokens, int]:
    """One turn as ``chained`` takes it, from the ids before a reply and those of the reply.

    ``logprobs``, ``signals``: float32 [len(reply)]. Returns its tokens and the length of the prompt.
    """
    start, length = len(prompt), len(prompt) + len(reply)

    def on_reply(values: np.ndarray | None) -> np.ndarray:
        column = np.full(length, np.nan, np.float32)
        if values is not None:
            column[start:] = values
        return column

    scores = {name: on_reply(values) for name, values in (signals or {}).items()}
    ids = np.concatenate([prompt, reply]).astype(np.int32)
    return Tokens(ids, np.arange(length) >= start, on_reply(logprobs), scores, prompt=start), start


class Dialogue(NamedTuple):
    """One dialogue of a rollout."""

    messages: list[Message]
    turns: list[int]
    """The numbers of its turns"""


def dialogues(turns: Iterable[tuple[list[Message], list[Message]]]) -> list[Dialogue]:
    """The dialogues of a rollout from its turns as messages.

    ``turns``: the messages before each reply, which repeat the dialogue so far, and the reply. A turn whose messages
    begin with a dialogue so far continues it, and what was sampled stays so; another turn begins a new dialogue, whose
    history is context.
    """
    found: list[Dialogue] = []
    for number, (before, reply) in enumerate(turns):
        own = next((n for n in reversed(range(len(found))) if _begins(found[n].messages, before)), None)
        if own is None:
            context = [replace(message, sampled=False, in_prompt=True) for message in before]
            found.append(Dialogue([*context, *reply], [number]))
        else:
            known = found[own]
            more = [replace(message, sampled=False) for message in before[len(known.messages) :]]
            found[own] = Dialogue([*known.messages, *more, *reply], [*known.turns, number])
    return found


def _begins(dialogue: list[Message], messages: list[Message]) -> bool:
    """Whether the messages begin with the dialogue."""
    return len(dialogue) <= len(messages) and all(map(_is_same, dialogue, messages))


def _is_same(first: Message, second: Message) -> bool:
    return first.role == second.role and first.content.strip() == second.content.strip()


class Context(NamedTuple):
    """One token stream of a rollout."""

    tokens: Tokens
    shared: int
    """Number of tokens it shares with the one before"""
    turns: list[int]
    """The numbers of its turns"""


def chained(turns: Iterable[tuple[Tokens, int]]) -> list[Context]:
    """The token streams of a rollout.

    ``turns``: the tokens of each turn with the length of its prompt, which repeats the dialogue so far. A turn whose
    prompt begins with a stream so far continues it. Another turn begins a new stream: another agent wrote it, or the
    program changed the history, for instance by leaving out the reasoning of earlier turns.
    """
    streams: list[Context] = []
    for number, (turn, prompt) in enumerate(turns):
        own = next((n for n in reversed(range(len(streams))) if _continues(streams[n].tokens, turn, prompt)), None)
        if own is None:
            shared = _common_prefix(streams[-1].tokens.ids, turn.ids[:prompt]) if streams else 0
            streams.append(Context(turn, shared, [number]))
        else:
            stream, shared, numbers = streams[own]
            streams[own] = Context(joined([stream, _after(turn, len(stream.ids))]), shared, [*numbers, number])
    return streams


def _continues(stream: Tokens, turn: Tokens, prompt: int) -> bool:
    """Whether the prompt of a turn, its first ``prompt`` tokens, begins with the stream."""
    length = len(stream.ids)
    return prompt >= length and np.array_equal(turn.ids[:length], stream.ids)


def joined(nodes: Sequence[Tokens]) -> Tokens:
    """Streams one after another; a signal is NaN in those that lack it."""
    names = {name for node in nodes for name in node.signals}
    blank = [np.full(len(node.ids), np.nan, np.float32) for node in nodes]
    known = all(node.kinds is not None for node in nodes)
    return Tokens(
        np.concatenate([n.ids for n in nodes]),
        np.concatenate([n.sampled for n in nodes]),
        np.concatenate([n.logprobs for n in nodes]),
        {name: np.concatenate([n.signals.get(name, b) for n, b in zip(nodes, blank)]) for name in sorted(names)},
        np.concatenate([n.kinds for n in nodes]) if known else None,
        nodes[0].prompt,
    )


def _after(tokens: Tokens, start: int) -> Tokens:
    """The stream from a token on."""
    signals = {name: values[start:] for name, values in tokens.signals.items()}
    return Tokens(tokens.ids[start:], tokens.sampled[start:], tokens.logprobs[start:], signals)


def _common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """The number of equal ids at the beginning."""
    length = min(len(a), len(b))
    different = np.flatnonzero(a[:length] != b[:length])
    return int(different[0]) if len(different) else length
