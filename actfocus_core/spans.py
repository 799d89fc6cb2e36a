r"""Span rules: which characters of a response are reasoning and which are actions.

The default rule is that of the method, ``think_answer`` (method.md section 1). The others are for trajectories of other
agents: tool calls, boxed answers, ReAct, or a custom pattern. For these, reasoning is the ``<think>`` span if there is
one, else the text before the first action; everything else, including the tags, is format.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from actfocus_core.dialogue import THINK, Spans, find_spans, find_thought, split_actions
from actfocus_core.errors import ActFocusError


@dataclass(frozen=True)
class SpanRule:
    """A rule that finds the spans of a response; create it with ``span_rule``."""

    name: str
    find: Callable[[str, bool], Spans]
    """(text of one response, whether the template opened ``<think>``) -> spans"""

    def actions(self, text: str, spans: Spans) -> list[str]:
        """The actions of a response, stripped, without empty ones; an answer may contain several."""
        actions = [text[start:end].strip() for start, end in spans.actions]
        if self.name == "think_answer":
            actions = [action for answer in actions for action in split_actions(answer)]
        return [action for action in actions if action]

    def well_formed(self, text: str, spans: Spans) -> bool:
        """Whether a response keeps the format: it has an action.

        An agent that calls tools or follows ReAct ends in words, so there a response without a call is well formed, unless
        it contains one that is cut or broken.
        """
        if self.actions(text, spans):
            return True
        begin = _CALL_BEGINS.get(self.name)
        after_thought = text[spans.reasonings[-1][1] :] if spans.reasonings else text
        return begin is not None and not begin.search(after_thought)


def span_rule(name: str) -> SpanRule:
    """A rule by name, or ``pattern:REGEX`` with a group named ``action`` and optionally one named ``reasoning``.

    Raises ActFocusError for an unknown name or an invalid pattern.
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
    r"""The content of the last ``\boxed{...}`` with balanced braces."""
    stack: list[int] = []
    end_of = {}
    for brace in re.finditer(r"(?<!\\)[{}]", text):
        if brace[0] == "{":
            stack.append(brace.end())
        elif stack:
            end_of[stack.pop()] = brace.start()
    boxes = [box.end() for box in re.finditer(re.escape(_BOX), text)]
    return next(([(begin, end_of[begin])] for begin in reversed(boxes) if begin in end_of), [])


def _react(text: str) -> list[tuple[int, int]]:
    """The text after ``Action:`` or ``Action 1:`` at the start of a line, up to the next ReAct label."""
    labels = list(_REACT_LABEL.finditer(text))
    spans = []
    for label, end in zip(labels, [*(label.start() for label in labels[1:]), len(text)]):
        if label[1] == "Action":
            begin = label.end() + len(content := text[label.end() : end]) - len(content.lstrip(" \t"))
            spans.append((begin, begin + len(text[begin:end].rstrip())))
    return spans


def _with_reasoning(
    find_actions: Callable[[str], list[tuple[int, int]]], action_tag: re.Pattern[str]
) -> Callable[[str, bool], Spans]:
    """Build a rule from a function that finds actions; ``action_tag``: what stands directly before an action."""

    def find(text: str, opens_thinking: bool) -> Spans:
        thought = find_thought(text, opens_thinking)
        start = thought[1] + len(THINK[1]) if thought else 0
        actions = tuple((a + start, b + start) for a, b in find_actions(text[start:]))
        if thought:
            return Spans((thought,), actions)
        if not actions or opens_thinking or THINK[0] in text[: actions[0][0]]:
            return Spans((), actions)
        reasoning_end = max((tag.start() for tag in action_tag.finditer(text, 0, actions[0][0])), default=0)
        return Spans(((0, reasoning_end),) if text[:reasoning_end].strip() else (), actions)

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
        thought = find_thought(text, opens_thinking)
        actions = tuple(action for action in spans["action"] if not thought or action[0] >= thought[1])
        return Spans((thought,) if thought else (), actions)

    return find


PATTERN = "pattern:"
_ACTION = re.compile(r"^Action(?: ?[0-9]{1,4})?:", re.M)
_REACT_LABEL = re.compile(r"^(Thought|Observation|Action|Final Answer)(?: ?[0-9]{1,4})?:", re.M)
_CALL_BEGINS = {"tool_call": re.compile("<tool_call>"), "react": _ACTION}
"""Rule -> how a call begins, for agents whose last response has none."""
_BOX = r"\boxed{"
RULES: dict[str, SpanRule] = {
    rule.name: rule
    for rule in (
        SpanRule("think_answer", find_spans),
        SpanRule("tool_call", _with_reasoning(_tool_calls, _CALL_BEGINS["tool_call"])),
        SpanRule("boxed", _with_reasoning(_boxed, re.compile(re.escape(_BOX)))),
        SpanRule("react", _with_reasoning(_react, _ACTION)),
    )
}
DEFAULT = RULES["think_answer"]
