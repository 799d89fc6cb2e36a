"""The action parser and the span finder: whatever a model writes is text with spans, found in linear time."""

import re

from actfocus_core.dialogue import response_kinds
from actfocus_core.spans import RULES, span_rule
from actfocus_core.trajectory import TokenKind
from tests.fuzz.cases import answered, fuzz
from tests.fuzz.damage import Choices

TAGS = [
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "<tool_call>",
    "</tool_call>",
    r"\boxed{",
    "{",
    "}",
    "\\",
    "||",
    "|",
    "\nAction:",
    "Action:",
    "\nThought:",
    "\nObservation:",
    "\nFinal Answer:",
    "<",
    ">",
    "</",
    "<think",
    "think>",
    "\n",
    " ",
]
NAMES = sorted(RULES)
COUNTS = (*[1] * 20, 2, 60, 1000)
LONG = 20_000


def reply(choices: Choices) -> list[str]:
    """A reply as tokens; a piece of it may stand there a thousand times."""
    tokens = choices.some(14, lambda: choices.text(2) if choices.below(4) == 0 else choices.pick(TAGS))
    if tokens and (count := choices.pick(COUNTS)) > 1:
        at = choices.below(len(tokens))
        tokens[at : at + 2] = tokens[at : at + 2] * count
    return tokens


def pattern(choices: Choices) -> str:
    """Often one that compiles, and then one that takes time linear in the text."""
    inside = "".join(
        choices.some(12, lambda: choices.pick("()[]^$.|\\x ?P<>:,1*+{}" if choices.below(3) == 0 else "[]^$.|\\x y"))
    )
    return choices.pick([f"(?P<action>{inside})", f"(?P<reasoning>x)(?P<action>{inside})", inside])


def rule(choices: Choices) -> str:
    return choices.pick(NAMES)


def flag(choices: Choices) -> bool:
    return choices.below(2) == 1


def check(rule, tokens: list[str], opens: bool) -> None:
    """Spans lie in the text, in order and apart; every token has one kind; every action stands in the text."""
    text = "".join(tokens)
    spans = rule.find(text, opens)
    edges = [edge for span in sorted(spans.reasonings + spans.actions) for edge in span]
    assert edges == sorted(edges) and (not edges or 0 <= edges[0] <= edges[-1] <= len(text))
    kinds = response_kinds(tokens, spans)
    assert len(kinds) == len(tokens) and set(kinds) <= {TokenKind.REASONING, TokenKind.ACTION, TokenKind.FORMAT}
    actions = rule.actions(text, spans)
    assert all(action and action == action.strip() and action in text for action in actions)
    if rule.name == "think_answer":
        assert not any("||" in action for action in actions)


@fuzz(
    "actions and spans",
    {"tokens": ["\\boxed{"] * LONG, "rule": "boxed", "opens": False},
    {"tokens": ["Action:", *["\n"] * LONG, "x"], "rule": "react", "opens": False},
    {"tokens": ["<tool_call>"] * LONG, "rule": "tool_call", "opens": True},
    {"tokens": ["<think></think><answer>"] * LONG, "rule": "think_answer", "opens": False},
    tokens=reply,
    rule=rule,
    opens=flag,
)
def test_whatever_a_model_writes_has_spans_and_actions(tokens, rule, opens):
    check(span_rule(rule), tokens, opens)


@fuzz(
    "a character at a time",
    text=lambda choices: "".join(choices.some(120, lambda: choices.pick("<>/thinkaswer|{}\\ \n"))),
    rule=rule,
    opens=flag,
)
def test_one_token_a_character(text, rule, opens):
    check(span_rule(rule), list(text), opens)


@fuzz("patterns", pattern=pattern, tokens=reply)
def test_a_pattern_of_ones_own_is_one_or_is_refused(pattern, tokens):
    rule = answered(lambda: span_rule(f"pattern:{pattern}"))
    # A person's own pattern may take long on a long text: that is the pattern's.
    if rule is not None and not re.search(r"[*+{]", pattern):
        text = "".join(tokens)[:2000]
        spans = rule.find(text, False)
        assert all(0 <= a <= b <= len(text) for a, b in spans.reasonings + spans.actions)
        assert len(response_kinds(list(text), spans)) == len(text)
