"""JSON inside of text: complete objects and lists that begin a line, a tag's content or the text after a colon."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_BEGIN = re.compile(r"(?:\A|[\n>:\]\uff5c])[ \t]*(?=[\[{])")
_DECODER = json.JSONDecoder()
_BUDGET = 4
"""Attempts that fail may read this many times the length of the text, so hostile text takes linear time."""
_LEAST = 4
"""Items of a list without objects or lists in it"""


class JsonSpan(NamedTuple):
    """Characters [start, end) of a text, and their value."""

    start: int
    end: int
    value: Any


def find_json(text: str, start: int, end: int) -> Iterator[JsonSpan]:
    """The JSON values in characters [start, end) of a text: objects with keys, lists of objects or lists, and longer lists.

    Numbers such as ``[1]`` in prose are no JSON worth a layout.
    """
    part, at = text[start:end], 0
    left = _BUDGET * len(part) + 1000
    while left > 0 and (begin := _BEGIN.search(part, at)):
        first = begin.end()
        try:
            value, last = _DECODER.raw_decode(part, first)
        except json.JSONDecodeError as error:
            left -= error.pos - first + 1
            at = first + 1
            continue
        except (RecursionError, ValueError):
            # Nested too deeply, or an integer of thousands of digits.
            left -= len(part)
            at = first + 1
            continue
        if _has_layout(value):
            yield JsonSpan(start + first, start + last, value)
        at = last


def _has_layout(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value)
    return isinstance(value, list) and (len(value) >= _LEAST or any(isinstance(item, (dict, list)) for item in value))
