r"""The messages of a stream: by the role headers of chat templates, else where the origin of the tokens changes.

A header such as ``<|im_start|>user\n`` counts where the template wrote it: its tokens are of kind TEMPLATE, or its marker is a
token of its own that was not sampled. The same characters inside of ordinary text are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from actfocus_core.blocks.stream import Stream
from actfocus_core.trajectory import TokenKind

_HEADER = re.compile(
    r"<\|im_start\|>(?P<chatml>[\w.-]{1,40})[^\n<]{0,80}\n?"
    r"|<\|start_header_id\|>(?P<llama>[\w.-]{1,40})<\|end_header_id\|>\n{0,2}"
    r"|<start_of_turn>(?P<gemma>\w{1,40})\n?"
    r"|<\|start\|>(?P<harmony>[\w.-]{1,80})[^<]{0,80}(?:<\|channel\|>[^<]{0,80})?(?:<\|constrain\|>[^<]{0,40})?<\|message\|>"
    r"|<\|(?P<zephyr>system|user|assistant|tool|observation)\|>\n?"
    r"|<\uff5c(?P<deepseek>System|User|Assistant)\uff5c>"
    r"|(?P<mistral>\[INST\]|\[/INST\]|\[TOOL_RESULTS\]|\[SYSTEM_PROMPT\])"
)
"""ChatML (Qwen, SmolLM2, Hermes), Llama 3, Gemma, gpt-oss, Zephyr, Phi and GLM, DeepSeek, Mistral"""
_END = re.compile(
    r"(?:\s*(?:<\|(?:im_end|eot_id|eom_id|end|call|return|end_of_text|endoftext)\|>|<end_of_turn>|<eos>|</s>"
    r"|<\uff5cend\u2581of\u2581sentence\uff5c>|\[/TOOL_RESULTS\]|\[/SYSTEM_PROMPT\]))+\s*\Z"
)
_END_MAX = 120
"""Characters at the end of a message that are looked at"""
_BARE = re.compile(r"\b(system|user|assistant|tool|model|ipython) *\n+(?:<think>\s*)?\Z")
_MARKER = re.compile(r"<\|?\w+\|?>|<\uff5c\w+\uff5c>|\[/?[A-Z_]+\]")
ROLES = {
    "model": "assistant",
    "gpt": "assistant",
    "human": "user",
    "developer": "system",
    "ipython": "tool",
    "observation": "tool",
    "function": "tool",
    "[inst]": "user",
    "[/inst]": "assistant",
    "[tool_results]": "tool",
    "[system_prompt]": "system",
}
"""A template's word for a role -> ours"""
ENVIRONMENT = "environment"
_ORIGINS = {TokenKind.SYSTEM: "system", TokenKind.USER: "user", TokenKind.REASONING: "assistant"}


@dataclass(frozen=True)
class Message:
    """One message: tokens [start, end), of which those before ``body`` are its header and those from ``close`` on its end."""

    role: str
    """system, user, assistant, tool; ``environment`` for text of the environment inside a reply; else the template's word;
    empty where nothing says it"""
    start: int
    body: int
    end: int
    close: int
    """First token of what ends it, such as ``<|im_end|>``; ``end`` where there is nothing of the kind"""
    sampled: bool
    """Whether the policy sampled any of it in this context"""


def find_messages(stream: Stream) -> list[Message]:
    """The messages of a stream, in order; together they have all of its tokens."""
    if not len(stream):
        return []
    borders: list[tuple[int, str, int]] = []
    origins = _origins(stream)
    bare, marked = _bare_headers(stream, origins), _headers(stream)
    headers = {start: (role, body) for found in (bare, marked) for start, role, body in found}
    role, origin = "", -1
    for i in sorted({0, *headers, *_changes(origins)}):
        now = int(origins[i])
        if i in headers:
            (role, body), origin = headers[i], -1
            borders.append((i, role, body))
        elif now < 0:
            # The template's own words belong to the message before them, or begin the stream.
            if not borders:
                borders.append((i, "", i))
        elif origin < 0 and borders and _fits(role, now):
            origin = now
        elif origin != now:
            replied = now == TokenKind.USER and origin == TokenKind.REASONING
            role, origin = ENVIRONMENT if replied else _ORIGINS[TokenKind(now)], now
            borders.append((i, role, i))
    ends = [start for start, _, _ in borders[1:]] + [len(stream)]
    return [_message(stream, role, start, min(body, end), end) for (start, role, body), end in zip(borders, ends)]


def _message(stream: Stream, role: str, start: int, body: int, end: int) -> Message:
    first, last = stream.starts[body], stream.starts[end]
    closing = _END.search(stream.text, max(first, last - _END_MAX), last)
    close = min(max(stream.token(closing.start()), body), end) if closing else end
    return Message(role, start, body, end, close, bool(stream.sampled[start:end].any()))


def _fits(role: str, origin: int) -> bool:
    """Whether a header's message may hold tokens of this origin: what was sampled is the assistant's."""
    return role != "" and (origin != TokenKind.REASONING or role == "assistant")


def _headers(stream: Stream) -> Iterator[tuple[int, str, int]]:
    """(first token, role, first token of the body) of every header."""
    for match in _HEADER.finditer(stream.text):
        start = stream.token(match.start())
        if stream.starts[start] != match.start() or stream.sampled[start]:
            continue
        if stream.kinds[start] == TokenKind.TEMPLATE or _MARKER.fullmatch(stream.texts[start]):
            word = (match[match.lastgroup] if match.lastgroup else "").lower()
            yield start, ROLES.get(word, word), stream.token(match.end())


def _bare_headers(stream: Stream, origins: np.ndarray) -> Iterator[tuple[int, str, int]]:
    """The headers of text that was decoded without special tokens: a role alone on the last line of what the template wrote."""
    borders = [0, *_changes(origins), len(stream)]
    for start, end in pairwise(borders):
        if origins[start] >= 0:
            continue
        match = _BARE.search(stream.text, max(stream.starts[start], stream.starts[end] - _END_MAX), stream.starts[end])
        if match and (match.start() == stream.starts[start] or stream.text[match.start() - 1].isspace()):
            yield min(max(stream.token(match.start(1)), start), end - 1), ROLES.get(match[1], match[1]), end


def _origins(stream: Stream) -> np.ndarray:
    """int [T]: SYSTEM, USER, REASONING for all that was sampled, -1 for the template."""
    origins = np.where(stream.sampled, int(TokenKind.REASONING), stream.kinds.astype(int))
    return np.where(origins == TokenKind.TEMPLATE, -1, origins)


def _changes(origins: np.ndarray) -> list[int]:
    changes: list[int] = (np.flatnonzero(np.diff(origins)) + 1).tolist()
    return changes
