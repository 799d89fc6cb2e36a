"""Token streams of a rollout from the exact ids of its turns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from actfocus_core.interop.samples import Tokens


def chained(turns: Iterable[tuple[Tokens, int]]) -> list[tuple[Tokens, int]]:
    """The token streams of a rollout, each with the number of tokens it shares with the one before.

    ``turns``: the tokens of each turn with the length of its prompt, which repeats the dialogue so far. A turn whose prompt
    is the stream so far continues it. Another turn begins a new stream: the program changed the history, for instance by
    leaving out the reasoning of earlier turns.
    """
    streams: list[tuple[Tokens, int]] = []
    for turn, prompt_length in turns:
        if not streams:
            streams.append((turn, 0))
            continue
        stream, shared = streams[-1]
        length = len(stream.ids)
        if prompt_length >= length and np.array_equal(turn.ids[:length], stream.ids):
            streams[-1] = joined([stream, _after(turn, length)]), shared
        else:
            streams.append((turn, _common_prefix(stream.ids, turn.ids[:prompt_length])))
    return streams


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
