r"""Marks in a message's text: reasoning, calls, answers, results and tool definitions, by the tags and labels around them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from actfocus_core.blocks.json_text import JsonSpan


class BlockType(StrEnum):
    """What a block of a message is."""

    TEXT = "text"
    REASONING = "reasoning"
    CALL = "call"
    """of a tool"""
    ANSWER = "answer"
    """another action of the policy"""
    RESULT = "result"
    """of a tool"""
    OBSERVATION = "observation"
    """what the environment says after a reply"""
    TOOLS = "tools"
    """the definition of a tool"""


class Mark(NamedTuple):
    """Characters [start, end) of a stream, its tags included; ``name``: of the tool."""

    start: int
    end: int
    type: BlockType
    name: str = ""
    closed: bool = True
    """False for a tag of a reply that is never closed"""


NAME_MAX = 80
_NAME = re.compile(r"[A-Za-z_][\w./-]{0,79}")
_OF_REPLY = {
    "<think>": ("</think>", BlockType.REASONING),
    "<thinking>": ("</thinking>", BlockType.REASONING),
    "<tool_call>": ("</tool_call>", BlockType.CALL),
    "<function_call>": ("</function_call>", BlockType.CALL),
    "<function=": ("</function>", BlockType.CALL),
    "<search>": ("</search>", BlockType.CALL),
    "<\uff5ctool\u2581call\u2581begin\uff5c>": ("<\uff5ctool\u2581call\u2581end\uff5c>", BlockType.CALL),
    "[TOOL_CALLS]": ("", BlockType.CALL),
    "<|python_tag|>": ("", BlockType.CALL),
    "<answer>": ("</answer>", BlockType.ANSWER),
    "<action>": ("</action>", BlockType.ANSWER),
}
"""Opening tag -> closing tag, empty for the end of the message, and what stands between them"""
_OF_OTHERS = {
    f"<{tag}>": (f"</{tag}>", BlockType.RESULT)
    for tag in ("tool_response", "tool_result", "information", "interpreter", "observation", "function_response")
} | {"<\uff5ctool\u2581output\u2581begin\uff5c>": ("<\uff5ctool\u2581output\u2581end\uff5c>", BlockType.RESULT)}
_OPENING = {own: re.compile("|".join(map(re.escape, tags))) for own, tags in ((True, _OF_REPLY), (False, _OF_OTHERS))}
_REACT = re.compile(r"^(Thought|Action Input|Action|Observation|Final Answer)(?: ?\d{1,4})?:", re.M)
_ARGUMENTS = ("arguments", "parameters", "args", "input")


def tagged(text: str, start: int, end: int, reply: bool) -> Iterator[Mark]:
    """The marks in characters [start, end), by tags. ``reply``: the text is the assistant's, else the environment's or a person's.

    A reply's tag that is never closed reaches the end of the message: the reply was cut, or is malformed.
    """
    pairs, at = (_OF_REPLY if reply else _OF_OTHERS), start
    unclosed: set[str] = set()
    while opening := _OPENING[reply].search(text, at, end):
        closing, type = pairs[opening[0]]
        close = text.find(closing, opening.end(), end) if closing and closing not in unclosed else -1
        if close < 0:
            if closing:
                unclosed.add(closing)
            if not reply:
                at = opening.end()
                continue
            close = end
        last = close + len(closing) if close < end else end
        closed = not closing or last > close
        yield Mark(opening.start(), last, type, _tool(opening[0], text[opening.end() : close], type), closed)
        at = last


def react(text: str, start: int, end: int) -> Iterator[Mark]:
    """The calls of a ReAct reply: from ``Action:`` to the next label other than ``Action Input:``."""
    labels = list(_REACT.finditer(text, start, end))
    for k, label in enumerate(labels):
        if label[1] == "Action":
            following = next((other.start() for other in labels[k + 1 :][:2] if other[1] != "Action Input"), end)
            name = _NAME.match(text[label.end() : following].lstrip())
            yield Mark(label.start(), following, BlockType.CALL, name[0] if name else "")


def definition(value: Any) -> str:
    """The name of the tool that a JSON value defines; empty if it defines none."""
    if not isinstance(value, dict):
        return ""
    function = value.get("function")
    found = function if isinstance(function, dict) else value
    described = any(key in found for key in ("parameters", "input_schema", "description"))
    return (
        _text(found.get("name")) if described and not any(k in found for k in _ARGUMENTS if k != "parameters") else ""
    )


def bare_calls(values: list[JsonSpan]) -> Iterator[Mark]:
    """The calls that are JSON without tags, as Llama 3 writes them."""
    for span in values:
        if isinstance(span.value, dict) and any(key in span.value for key in _ARGUMENTS) and _called(span.value):
            yield Mark(span.start, span.end, BlockType.CALL, _called(span.value))


def _called(value: dict[str, Any]) -> str:
    function = value.get("function")
    return _text(value.get("name") or (function.get("name") if isinstance(function, dict) else function))


def _text(value: Any) -> str:
    return value[:NAME_MAX] if isinstance(value, str) else ""


def _tool(tag: str, content: str, type: BlockType) -> str:
    """The name of the tool in the content of a call; empty where it cannot be read."""
    if type != BlockType.CALL:
        return ""
    if tag == "<search>":
        return "search"
    if tag == "<|python_tag|>" and not content.lstrip().startswith("{"):
        return "python"
    content = content.strip()
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        name = _NAME.match(content.removeprefix("function\uff5c").removeprefix("<function="))
        return name[0] if name else _quoted_name(content)
    value = value[0] if isinstance(value, list) and value else value
    return _called(value) if isinstance(value, dict) else ""


_QUOTED = re.compile(r"""["']name["']\s*:\s*["']([\w./-]{1,80})["']""")


def _quoted_name(content: str) -> str:
    """The name in a call whose JSON is broken."""
    found = _QUOTED.search(content[:1000])
    return found[1] if found else ""
