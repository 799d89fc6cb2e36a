"""What the Trace page gets of a rollout's dialogue: messages and blocks, and the contexts of the same rollout."""

from __future__ import annotations

from itertools import accumulate

from actfocus_core import blocks
from actfocus_core.reports.token_html import shown
from actfocus_core.runs import Run
from actfocus_core.trajectory import Trajectory
from actfocus_studio.data.message import Message


class DialogueMessage(Message):
    """Tokens [start, end): a header, the body from ``body`` on, and what ends it from ``close`` on."""

    role: str
    start: int
    body: int
    close: int
    end: int
    sampled: bool


class TextBlock(Message):
    """Tokens [start, end) of a message's body."""

    message: int
    type: blocks.BlockType
    start: int
    end: int
    name: str
    """Of a tool"""
    call: int | None
    """Of a result: the index of the block of its call"""
    error: bool | None
    """Of a result: whether it is an error; of a call: whether its result is one"""
    closed: bool
    """False for a call whose tag is never closed"""
    layout: list[tuple[int, int]]
    """UTF-16 units [start, end) of the whole text that are JSON"""


class DialogueData(Message):
    messages: list[DialogueMessage]
    blocks: list[TextBlock]


class Segment(Message):
    """A context of the rollout: a branch, an agent, or a history that was rebuilt."""

    id: str
    segment: int
    agent: str
    tokens: int
    trainable: bool


def dialogue_data(t: Trajectory) -> DialogueData:
    """The dialogue of a trajectory, found in the texts as a page shows them."""
    texts = [shown(text) for text in t.texts]
    found = blocks.find(texts, t.kinds)
    units = _Units("".join(texts))
    return DialogueData(
        messages=[
            DialogueMessage(role=m.role, start=m.start, body=m.body, close=m.close, end=m.end, sampled=m.sampled)
            for m in found.messages
        ],
        blocks=[
            TextBlock(
                message=block.message,
                type=block.type,
                start=block.start,
                end=block.end,
                name=block.name,
                call=block.call,
                error=block.error,
                closed=block.closed,
                layout=[(units.before(start), units.before(end)) for start, end in block.json],
            )
            for block in found.blocks
        ],
    )


class _Units:
    """Numbers of UTF-16 units, which a browser counts, from numbers of characters."""

    def __init__(self, text: str):
        self._wide = None if text.isascii() else list(accumulate((1 + (ch > "\uffff") for ch in text), initial=0))

    def before(self, character: int) -> int:
        return character if self._wide is None else self._wide[character]


def segments(run: Run, id: str) -> list[Segment]:
    """The contexts of the rollout of a trajectory, in their order; a single one for most rollouts."""
    index = run.index()
    own = index[index["id"] == id].iloc[0]
    name = own["rollout_id"] if "rollout_id" in index else ""
    if not name:
        return []
    rows = index[(index["rollout_id"] == name) & (index["group"] == own["group"]) & (index["step"] == own["step"])]
    return [
        Segment(
            id=row["id"],
            segment=int(row["segment"]),
            agent=row["agent"],
            tokens=int(row["n_tokens"]),
            trainable=bool(row["trainable"]),
        )
        for row in rows.sort_values("segment").to_dict("records")
    ]
