"""``find``: the dialogue of a token stream as messages and blocks, calls with their results."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from actfocus_core.blocks.json_text import JsonSpan, find_json
from actfocus_core.blocks.marks import BlockType, Mark, bare_calls, definition, react, tagged
from actfocus_core.blocks.messages import ENVIRONMENT, Message, find_messages
from actfocus_core.blocks.results import is_error
from actfocus_core.blocks.stream import Stream
from actfocus_core.trajectory import TokenKind


@dataclass(frozen=True)
class Block:
    """Tokens [start, end) of a message's body."""

    message: int
    type: BlockType
    start: int
    end: int
    name: str = ""
    """Of the tool that is called, answers or is defined; empty where it cannot be read"""
    call: int | None = None
    """Of a result: the index of the block of its call"""
    error: bool | None = None
    """Of a result: whether it is an error; of a call: whether its result is one, None where there is no result"""
    closed: bool = True
    """False for a call whose tag is never closed: it was cut or is malformed, and gets no result"""
    json: tuple[tuple[int, int], ...] = ()
    """Characters [start, end) of the whole stream that are JSON"""


@dataclass(frozen=True)
class Dialogue:
    """The messages of a stream, and the blocks of their bodies, in order."""

    messages: list[Message]
    blocks: list[Block]

    @property
    def calls(self) -> list[Block]:
        """The calls that the policy sampled."""
        return [b for b in self.blocks if b.type == BlockType.CALL and self.messages[b.message].sampled]


def find(texts: Sequence[str], kinds: np.ndarray) -> Dialogue:
    """The dialogue of a stream. ``texts``: T strings. ``kinds``: uint8 [T].

    A token that crosses a border belongs to the block in which it begins. The blocks of a message have all tokens of its body.
    Takes time linear in the length of the text. Raises ValueError if the lengths differ.
    """
    stream = Stream(texts, kinds)
    messages = find_messages(stream)
    blocks: list[Block] = []
    replied = False
    waiting: deque[int] = deque()
    for k, message in enumerate(messages):
        found = _blocks(stream, k, message, replied, bool(waiting))
        for block in found:
            if block.type == BlockType.RESULT and waiting:
                at = waiting.popleft()
                block = replace(block, call=at, name=block.name or blocks[at].name)
                blocks[at] = replace(blocks[at], error=block.error)
            if block.type == BlockType.CALL and block.closed:
                waiting.append(len(blocks))
            blocks.append(block)
        if message.role == "assistant":
            replied = True
        elif message.role == "user" and waiting:
            # A person speaks: what was called before has no result.
            waiting.clear()
    return Dialogue(messages, blocks)


def _blocks(stream: Stream, k: int, message: Message, replied: bool, called: bool) -> Iterator[Block]:
    start, end = stream.starts[message.body], stream.starts[message.close]
    values = list(find_json(stream.text, start, end))
    marks = _marks(stream, message, values, called)
    plain = BlockType.OBSERVATION if replied and message.role in ("user", ENVIRONMENT, "tool") else BlockType.TEXT
    for type, name, closed, first, last in _cut(stream, message, marks, plain):
        a, b = stream.starts[first], stream.starts[last]
        inside = tuple((value.start, value.end) for value in values if a <= value.start < b and value.end <= b)
        error = is_error(_content(stream.text[a:b])) if type == BlockType.RESULT else None
        yield Block(k, type, first, last, name, error=error, closed=closed, json=inside)


def _marks(stream: Stream, message: Message, values: list[JsonSpan], called: bool) -> list[Mark]:
    """The marks of a message's body, disjoint and in order."""
    start, end = stream.starts[message.body], stream.starts[message.close]
    if message.role == "assistant":
        marks = list(tagged(stream.text, start, end, reply=True)) or list(react(stream.text, start, end))
        return (
            marks
            if any(mark.type == BlockType.CALL for mark in marks)
            else [*marks, *_outside(marks, bare_calls(values))]
        )
    results = list(tagged(stream.text, start, end, reply=False))
    if results:
        return results
    if message.role == "tool" or (called and message.role in ("user", ENVIRONMENT)):
        return [Mark(start, end, BlockType.RESULT)]
    named = ((span, definition(span.value)) for span in values)
    return [Mark(span.start, span.end, BlockType.TOOLS, name) for span, name in named if name]


def _outside(marks: Sequence[Mark], others: Iterable[Mark]) -> list[Mark]:
    return [other for other in others if all(other.end <= mark.start or mark.end <= other.start for mark in marks)]


def _cut(
    stream: Stream, message: Message, marks: Iterable[Mark], plain: BlockType
) -> Iterator[tuple[BlockType, str, bool, int, int]]:
    """(type, name, closed, first token, end) of the blocks of a message; between the marks the kinds of the tokens decide."""
    at = message.body
    for mark in sorted(marks):
        first = max(stream.token(mark.start), at)
        last = min(stream.token(mark.end), message.close)
        if last > first:
            yield from _by_kind(stream, at, first, plain)
            yield mark.type, mark.name, mark.closed, first, last
            at = last
    yield from _by_kind(stream, at, message.close, plain)


_OWN = {TokenKind.REASONING: BlockType.REASONING, TokenKind.ACTION: BlockType.ANSWER}


def _by_kind(stream: Stream, start: int, end: int, plain: BlockType) -> Iterator[tuple[BlockType, str, bool, int, int]]:
    if start >= end:
        return
    kinds = stream.kinds[start:end]
    borders = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(kinds)]
    runs: list[tuple[BlockType, int, int]] = []
    for first, last in pairwise(borders):
        type = _OWN.get(TokenKind(int(kinds[first])), plain)
        if runs and (runs[-1][0] == type or not stream.slice(start + first, start + last).strip()):
            runs[-1] = (runs[-1][0], runs[-1][1], last)
        else:
            runs.append((type, first, last))
    for type, first, last in runs:
        yield type, "", True, start + first, start + last


def _content(text: str) -> str:
    """The text of a result without the tags and end markers around it."""
    text = text.strip()
    while text.startswith("<") and 0 < (end := text.find(">")) < 40:
        text = text[end + 1 :].lstrip()
    while text.endswith(">") and (begin := text.rfind("<")) >= max(0, len(text) - 40):
        text = text[:begin].rstrip()
    return text.removeprefix("Observation:").lstrip()
