r"""Span rules: which characters of a response are reasoning and which are the action.

The default is the method's own, ``think_answer`` (method.md section 1). The others are for
trajectories of other agents: tool calls, boxed answers, ReAct, or a pattern of one's own. For
these, reasoning is the ``<think>`` span where there is one, else the text before the first
action; everything else, tags included, is format.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from actfocus_core.dialogue import THINK, Spans, find_spans, find_thought, split_actions
from actfocus_core.errors import ActFocusError


@dataclass(frozen=True)
class SpanRule:
    """A way to find the spans of a response. Get one with ``span_rule``."""

    name: str
    find: Callable[[str, bool], Spans]
    """(text of one response, whether the template opened ``<think>``) -> its spans"""

    def actions(self, text: str, spans: Spans) -> list[str]:
        """The actions the response names, stripped; an answer may hold several."""
        found = [text[start:end].strip() for start, end in spans.actions]
        if self.name == "think_answer":
            found = [action for answer in found for action in split_actions(answer)]
        return [action for action in found if action]


def span_rule(name: str) -> SpanRule:
    """A rule by its name, or ``pattern:REGEX`` with a group named ``action`` (and ``reasoning``).

    Raises ActFocusError for an unknown name or a pattern that is not one.
    """
    if name.startswith(PATTERN):
        return SpanRule(name, _by_pattern(name.removeprefix(PATTERN)))
    if name not in RULES:
        raise ActFocusError(
            f"unknown span rule {name!r}; there are {', '.join(RULES)}, and {PATTERN}REGEX with a group (?P<action>...)"
        )
    return RULES[name]


def _tool_calls(text: str) -> list[tuple[int, int]]:
    return [m.span(1) for m in re.finditer(r"<tool_call>((?:(?!<tool_call>).)*?)</tool_call>", text, re.S)]


def _boxed(text: str) -> list[tuple[int, int]]:
    r"""The content of the last ``\boxed{...}`` whose braces are balanced."""
    opened: list[int] = []
    closed = {}
    for brace in re.finditer(r"(?<!\\)[{}]", text):
        if brace[0] == "{":
            opened.append(brace.end())
        elif opened:
            closed[opened.pop()] = brace.start()
    boxes = [box.end() for box in re.finditer(re.escape(_BOX), text)]
    return next(([(begin, closed[begin])] for begin in reversed(boxes) if begin in closed), [])


def _react(text: str) -> list[tuple[int, int]]:
    """What follows ``Action:`` at the start of a line, up to the next thought or observation."""
    heads = list(re.finditer(r"^(?:Thought|Observation|Action|Final Answer):", text, re.M))
    found = []
    for head, end in zip(heads, [*(head.start() for head in heads[1:]), len(text)]):
        if head[0] == "Action:":
            begin = head.end() + len(said := text[head.end() : end]) - len(said.lstrip(" \t"))
            found.append((begin, begin + len(text[begin:end].rstrip())))
    return found


def _with_reasoning(
    find_actions: Callable[[str], list[tuple[int, int]]], opener: str = ""
) -> Callable[[str, bool], Spans]:
    """A rule from a finder of actions; ``opener``: the words right before an action."""

    def find(text: str, opens_thinking: bool) -> Spans:
        thought = find_thought(text, opens_thinking)
        start = thought[1] + len(THINK[1]) if thought else 0
        actions = tuple((a + start, b + start) for a, b in find_actions(text[start:]))
        if thought:
            return Spans((thought,), actions)
        if not actions or opens_thinking or THINK[0] in text[: actions[0][0]]:
            return Spans((), actions)
        before = text.rfind(opener, 0, actions[0][0])
        return Spans(((0, before),) if text[:before].strip() else (), actions)

    return find


def _by_pattern(pattern: str) -> Callable[[str, bool], Spans]:
    try:
        compiled = re.compile(pattern, re.S | re.M)
    except re.error as error:
        raise ActFocusError(f"span rule {pattern!r}: not a regular expression ({error})") from None
    if "action" not in compiled.groupindex:
        raise ActFocusError(f"span rule {pattern!r}: has no group (?P<action>...), which marks the action")

    def find(text: str, opens_thinking: bool) -> Spans:
        matches = list(compiled.finditer(text))
        spans = {
            name: tuple(m.span(name) for m in matches if m[name] is not None)
            for name in ("reasoning", "action")
            if name in compiled.groupindex
        }
        if "reasoning" in spans:
            return Spans(spans["reasoning"], spans["action"])
        first = find_thought(text, opens_thinking)
        return Spans((first,) if first else (), tuple(a for a in spans["action"] if not first or a[0] >= first[1]))

    return find


PATTERN = "pattern:"
_BOX = r"\boxed{"
RULES: dict[str, SpanRule] = {
    rule.name: rule
    for rule in (
        SpanRule("think_answer", find_spans),
        SpanRule("tool_call", _with_reasoning(_tool_calls, "<tool_call>")),
        SpanRule("boxed", _with_reasoning(_boxed, _BOX)),
        SpanRule("react", _with_reasoning(_react, "Action:")),
    )
}
DEFAULT = RULES["think_answer"]
