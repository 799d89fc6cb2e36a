"""``JsonText``: the text of a JSON document, decoded value by value, so that a document of any size fits in memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

from actfocus_core.interop.reading.compression import BLOCK, READ_ERRORS
from actfocus_core.interop.reading.record import NESTING_MAX, is_deep

CHUNK = 1 << 20
"""Number of bytes that are read at once; more while a longer value is being decoded."""
_BLANKS = re.compile(r"[ \t\r\n]*")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_LITERALS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_FRAGMENT = re.compile(r"\.|[eE][+-]?|u[0-9a-fA-F]{0,3}")
"""The end of a number, or of an escape, that is cut"""
_DECODER = json.JSONDecoder()
_ANY_INTEGER = json.JSONDecoder(parse_int=float)
"""Decodes integers of any length; Python's int has a limit of digits, beyond which it raises ValueError."""


class BadText(ValueError):
    """The text is not JSON from here on."""

    def __init__(self, what: str, line: int):
        super().__init__(f"{what}, in line {line}")
        self.line = line


class Unfinished(BadText):
    """The text ends inside a value."""


class TooLong(BadText):
    """A value is longer than the limit."""


def is_unfinished(error: json.JSONDecodeError) -> bool:
    """Whether the text was a correct beginning of a JSON value, which may end inside a number, literal or escape."""
    rest = error.doc[error.pos :].rstrip()
    is_fragment = _FRAGMENT.fullmatch(rest) or any(literal.startswith(rest) for literal in _LITERALS)
    return error.msg.startswith("Unterminated string") or bool(is_fragment)


@dataclass(frozen=True)
class Value:
    """A value of the document."""

    value: Any
    problem: str
    """Why it cannot be used although its end was found; else empty"""
    line_breaks: int
    """Number of line breaks in its text"""


class JsonText:
    """A position in the text of a stream of UTF-8.

    ``longest``: maximum length of a value, in characters. Methods raise BadText or RecursionError if the text is not
    JSON at the position.
    """

    def __init__(self, stream: BufferedReader[Any], longest: int):
        self._stream, self._longest = stream, longest
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._not_utf8 = False
        self._ended = False
        self.error: BaseException | None = None
        """The error of the stream at which the text ends"""
        self._lines = 0
        self._at = 0
        self._text = ""
        while not self._text and self._fill():
            pass
        self._at = int(self._text.startswith("\ufeff"))

    @property
    def line(self) -> int:
        """Number of the line of the position, from 1."""
        return self._line_of(self._at)

    def next(self) -> str:
        """Move to the next character that is not blank, and return it; empty at the end."""
        while True:
            match = _BLANKS.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def expect(self, characters: str) -> str:
        """Move behind the next character, which must be one of these."""
        if (char := self.next()) == "":
            raise Unfinished("the text ends", self.line)
        if char not in characters:
            raise BadText(f"expecting {' or '.join(map(repr, characters))}", self.line)
        self._at += 1
        return char

    def value(self) -> Value:
        """Decode the value at the position, and move behind it."""
        self.next()
        while True:
            try:
                value, end, problem = self._decode()
            except json.JSONDecodeError as error:
                if self._ended or not self._may_be_unfinished(error):
                    raise self._bad(error) from None
            else:
                # A number may continue after the text that was read so far.
                if self._ended or end < len(self._text):
                    return self._took(value, problem, end)
            self._fill(self._longest)

    def values(self) -> Iterator[Value]:
        """Yield the values from the position on, and in place of each array its items."""
        while (char := self.next()) != "":
            if char != "[":
                yield self.value()
                continue
            self._at += 1
            if self.next() == "]":
                self._at += 1
                continue
            yield self.value()
            while self.expect(",]") == ",":
                yield self.value()

    def _decode(self) -> tuple[Any, int, str]:
        """The value at the position, its end, and why it cannot be used."""
        try:
            return *_DECODER.raw_decode(self._text, self._at), ""
        except json.JSONDecodeError:
            raise
        except ValueError as error:
            return *_ANY_INTEGER.raw_decode(self._text, self._at), f"not JSON ({str(error).split(';')[0]})"

    def _took(self, value: Any, problem: str, end: int) -> Value:
        start, self._at = self._at, end
        if end - start > self._longest:
            raise self._too_long()
        if self._not_utf8 and _ESCAPED_BYTE.search(self._text, start, end):
            problem = "not UTF-8; the file must be UTF-8"
        brackets = self._text.count("[", start, end) + self._text.count("{", start, end)
        if brackets > NESTING_MAX and is_deep(value):
            problem = "is nested too deep; it must be one flat JSON object"
        return Value(value, problem, self._text.count("\n", start, end))

    def _fill(self, longest: int | None = None) -> bool:
        """Read more text; false at the end of the stream."""
        left = len(self._text) - self._at
        if longest is not None and left > longest:
            raise self._too_long()
        if self._ended:
            return False
        # Twice as much text at each attempt to decode a long value makes the attempts linear in its length.
        content = self._read(max(CHUNK, min(left, self._longest - left)))
        self._ended = not content
        self._lines += self._text.count("\n", 0, self._at)
        self._text = self._text[self._at :] + self._decoded(content)
        self._at = 0
        return not self._ended

    def _read(self, size: int) -> bytes:
        """At most ``size`` bytes. Reads in blocks, because bytes read together with a damaged one are lost."""
        blocks: list[bytes] = []
        try:
            while size > 0 and (block := self._stream.read1(BLOCK)):
                blocks.append(block)
                size -= len(block)
        except READ_ERRORS as error:
            self.error = error
        return b"".join(blocks)

    def _too_long(self) -> TooLong:
        return TooLong(f"is longer than {self._longest >> 20} MiB; an item must be one rollout", self.line)

    def _decoded(self, content: bytes) -> str:
        """The text of these bytes; bytes that are not UTF-8 become escapes, which ``_took`` looks for."""
        try:
            return self._decoder.decode(content, final=self._ended)
        except UnicodeDecodeError:
            self._not_utf8, self._decoder.errors = True, "surrogateescape"
            return self._decoder.decode(content, final=self._ended)

    def _may_be_unfinished(self, error: json.JSONDecodeError) -> bool:
        # The longest literal that can be cut is -Infinity, the longest escape \ud83d\ude00.
        return is_unfinished(error) or error.pos > len(self._text) - 16

    def _bad(self, error: json.JSONDecodeError) -> BadText:
        line = self._line_of(error.pos)
        return Unfinished("the text ends", line) if is_unfinished(error) else BadText(error.msg, line)

    def _line_of(self, position: int) -> int:
        return self._lines + self._text.count("\n", 0, position) + 1
