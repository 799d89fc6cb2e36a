"""``Borders``: the turns in prompts and completions that are stored as text.

Trainers decode whole prompts and completions, with special tokens or without them; a completion of several turns holds
the environment's messages between the role headers of the chat template. The headers are those of the tokenizer's own
template. Where their special tokens are in the text they are certain; without these, ``bare_headers`` says which are
believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from actfocus_core.interop.bare_headers import BareHeaders, Border
from actfocus_core.interop.samples import SAMPLED, Part
from actfocus_core.template import Header, Template
from actfocus_core.trajectory import TokenKind

_KIND = {"system": TokenKind.SYSTEM, "user": TokenKind.USER, "tool": TokenKind.USER}
_MARK = re.compile(r"[^\w\s]")
_SYSTEM_WORDS = ("system", "developer")
_ROLE = r"[^\n]{1,120}?"
"""The role in a header, also that of a named tool"""


class Borders:
    """Splits prompts and completions at the role headers of a tokenizer's chat template.

    ``tokenizer``: a fast tokenizer; without a chat template nothing is split. The parts of a text concatenate to it.
    White space between a message and the next header is the template's. All methods take linear time.
    """

    def __init__(self, tokenizer: Any):
        self.template = Template(tokenizer)
        self._bare = BareHeaders(self.template)
        self._marked = list(_marked(self.template.headers))
        self._pattern = _header_pattern(self._marked)
        self._pad, self._eos = tokenizer.pad_token or "", tokenizer.eos_token or ""
        self._ends = {self.template.end, self._eos}
        self._special_texts = tuple(filter(None, {*self.template.special_texts, self.template.end}))
        texts = "|".join(map(re.escape, sorted(self._special_texts, key=len, reverse=True))) or "(?!)"
        self._special, self._closing = re.compile(rf"({texts})\s*"), re.compile(rf"(?:(?:{texts})\s*)+")

    @cached_property
    def visible_without_special_tokens(self) -> bool:
        """Whether headers can be seen in text without special tokens; if not, a completion counts as one reply."""
        plain = {header.role for header, text in self._marked if self.template.bare(text) == text}
        return self._bare.visible or {"user", "assistant"} <= plain

    def how(self, text: str) -> str:
        """How the turns of a completion were found, for the provenance of a run; empty if it is a single reply."""
        if self._own(text, self._found(text)):
            return "role headers of the chat template"
        if self._bare.in_completion(text, self.template.opening):
            return "role headers of the chat template, without special tokens"
        return ""

    def prompt(self, text: str) -> list[Part]:
        """Messages as SYSTEM or USER, all other text as TEMPLATE, also replies, which are context in a prompt.

        A prompt that does not begin with a header, possibly after the token that begins a stream, is one USER part.
        """
        start = self._start(text)
        borders = list(self._found(text))
        if borders and (borders[0].start == start or self.template.bare_system):
            kind = TokenKind.SYSTEM
        else:
            borders, kind = self._bare.in_prompt(text, start), TokenKind.USER
        if not borders:
            return _joined([Part(text, TokenKind.USER)])
        parts = [Part(text[:start], TokenKind.TEMPLATE)]
        return _joined([*parts, *self._parts(text, start, kind, borders, TokenKind.TEMPLATE)])

    def completion(self, text: str, prompt: str = "") -> list[Part]:
        """Replies as SAMPLED with the token that ends them, messages of the environment as USER, the rest as TEMPLATE.

        ``prompt``: the text before the completion. Its end shows what the template writes to open a reply, such as
        ``<think>``, where the template has several ways.
        """
        opening = self._opening(prompt)
        borders = self._own(text, self._found(text)) or self._bare.in_completion(text, opening)
        borders = [
            border._replace(end=border.end + _opened(text, border.end, opening)) if border.is_reply else border
            for border in borders
        ]
        return _joined(self._parts(text, 0, SAMPLED, borders, SAMPLED))

    # --- parts ---------------------------------------------------------------------------

    def _parts(self, text: str, start: int, kind: int, borders: list[Border], reply: int) -> Iterator[Part]:
        """The text from ``start``, whose first message has the kind; ``reply``: the kind of replies."""
        for border in borders:
            yield from self._message(text[start : border.start], kind, border.header.gap)
            yield Part(text[border.start : border.end], TokenKind.TEMPLATE)
            start, kind = border.end, _KIND.get(border.header.role, reply)
        yield from self._message(text[start:], kind, "")

    def _message(self, text: str, kind: int, gap: str) -> Iterator[Part]:
        """A message, and the template's text after it; a reply includes the token that ended it."""
        closing = self._closing_start(text)
        if closing < len(text):
            end = closing + (self._reply_end(text[closing:]) if kind == SAMPLED else 0)
        else:
            end = len(text.removesuffix(gap))
        yield Part(text[:end], kind)
        yield Part(text[end:], TokenKind.TEMPLATE)

    def _closing_start(self, text: str) -> int:
        """Where the special tokens at the end of a message begin; its length if there are none."""
        if not text.rstrip().endswith(self._special_texts):
            return len(text)
        start = len(text)
        for run in self._closing.finditer(text):
            start = run.start() if run.end() == len(text) else len(text)
        return start

    def _reply_end(self, closing: str) -> int:
        """How many characters of the special tokens after a reply belong to the reply."""
        end = 0
        for token in self._special.finditer(closing):
            if token[1] == self._pad and self._pad not in self._ends:
                break
            # Some special tokens include the white space after them.
            end = max(token.end(1), token.start() + len(self.template.split_end(token[0])[0]))
            if token[1] in self._ends:
                break
        return end

    # --- headers -------------------------------------------------------------------------

    def _start(self, text: str) -> int:
        """The position after white space, padding and the tokens that begin a stream."""
        start = len(text) - len(text.lstrip())
        while not self._pattern.match(text, start) and (token := self._special.match(text, start)):
            start = token.end()
        return start

    def _found(self, text: str) -> Iterator[Border]:
        gap = next((header.gap for header in self.template.headers if header.role == "user"), "")
        for match in self._pattern.finditer(text):
            assert match.lastindex  # every alternative is a group
            if match.lastindex <= len(self._marked):
                header = self._marked[match.lastindex - 1][0]
            else:
                role = "system" if match["role"] in _SYSTEM_WORDS else "tool"
                header = Header(role, match[0], "", gap)
            yield Border(match.start(), match.end(), header)

    def _own(self, text: str, borders: Iterable[Border]) -> list[Border]:
        """The borders without the headers that the policy itself writes, between messages that do not end its reply."""
        kept: list[Border] = []
        replying = True
        for border in borders:
            before = text[max(0, border.start - 100) : border.start].rstrip()
            goes_on = self.template.end and self._eos and before.endswith(self.template.end)
            if not (replying and border.is_reply and goes_on and not before.endswith(self._eos)):
                kept.append(border)
            replying = border.is_reply
        return kept

    def _opening(self, prompt: str) -> str:
        """What the template writes to open a reply: as at the end of the prompt, else its default."""
        header = next((h for h in self.template.headers if h.role == "assistant"), None)
        end = prompt[-500:].rstrip()
        for opening in sorted(self.template.openings, key=len, reverse=True):
            if header and end.endswith(tuple((text + opening).rstrip() for text in (header.text, header.bare) if text)):
                return opening
        return self.template.opening


def _marked(headers: Iterable[Header]) -> Iterator[tuple[Header, str]]:
    """The headers that ordinary text does not hold, and their texts: those with more than a word; the longest first."""
    found = {text: header for header in headers for text in (header.bare, header.text) if _MARK.search(text)}
    return ((header, text) for text, header in sorted(found.items(), key=lambda item: -len(item[0])))


def _header_pattern(marked: list[tuple[Header, str]]) -> re.Pattern[str]:
    """Every header is a group, in order; the last is a header of another role, formed as the user's."""
    patterns = [_literal(text) for _, text in marked]
    user = next((text for header, text in marked if header.role == "user"), "")
    left, word, right = user.partition("user")
    if word and right and _MARK.search(left):
        patterns.append(rf"{re.escape(left)}(?P<role>{_ROLE})(?:{re.escape(right)}|\s*\Z)")
    return re.compile("|".join(f"({pattern})" for pattern in patterns) or r"(?!)")


def _literal(text: str) -> str:
    """A pattern of a header; the white space at its end may be cut off at the end of a text."""
    word = text.rstrip()
    space = re.escape(text[len(word) :])
    return re.escape(word) + (rf"(?:{space}|\s*\Z)" if space and word[-1].isalnum() else f"(?:{space})?")


def _opened(text: str, at: int, opening: str) -> int:
    """How many characters of the opening are there; it may be cut off at the end of a text."""
    there = text[at : at + len(opening)]
    return len(there) if opening.startswith(there) else 0


def _joined(parts: Iterable[Part]) -> list[Part]:
    """The parts without empty ones; neighbours of the same kind are one."""
    joined: list[Part] = []
    for part in parts:
        if joined and part.text and joined[-1].kind == part.kind:
            joined[-1] = Part(joined[-1].text + part.text, part.kind)
        elif part.text:
            joined.append(part)
    return joined
