"""The action parser and the span finder: whatever a model writes is text with spans, found in linear time."""

import re

from hypothesis import strategies as st

from actfocus_core.dialogue import response_kinds
from actfocus_core.spans import RULES, span_rule
from actfocus_core.trajectory import TokenKind
from tests.fuzz.cases import answered, fuzz

TAGS = ["<think>", "</think>", "<answer>", "</answer>", "<tool_call>", "</tool_call>", r"\boxed{", "{", "}", "\\", "||", "|",
        "\nAction:", "Action:", "\nThought:", "\nObservation:", "\nFinal Answer:", "<", ">", "</", "<think", "think>", "\n", " "]
STRANGE = ["é", "\u202e", "\u200b", "\x00", "\x1b[2J", "\u2028", "\x85", "🧊", "\ud83e", "ﷺ", "a\u0301", "\r\n", "\t", "<|im_end|>", "${x}", "{{x}}"]
PIECES = st.one_of(st.sampled_from(TAGS), st.sampled_from(TAGS), st.sampled_from(STRANGE), st.text(max_size=6))
NAMES = sorted(RULES)
COUNTS = (*[1] * 20, 2, 60, 1000)
LONG = 20_000


@st.composite
def replies(draw) -> list[str]:
    """A reply as tokens; a piece of it may stand there thousands of times."""
    tokens = draw(st.lists(PIECES, max_size=12))
    if tokens and (count := draw(st.sampled_from(COUNTS))) > 1:
        at = draw(st.integers(0, len(tokens) - 1))
        tokens[at:at + 2] = tokens[at:at + 2] * count
    return tokens


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


@fuzz("actions and spans", {"tokens": ["\\boxed{"] * LONG, "rule": "boxed", "opens": False},
      {"tokens": ["Action:", *["\n"] * LONG, "x"], "rule": "react", "opens": False},
      {"tokens": ["<tool_call>"] * LONG, "rule": "tool_call", "opens": True},
      {"tokens": ["<think></think><answer>"] * LONG, "rule": "think_answer", "opens": False},
      tokens=replies(), rule=st.sampled_from(NAMES), opens=st.booleans())
def test_whatever_a_model_writes_has_spans_and_actions(tokens, rule, opens):
    check(span_rule(rule), tokens, opens)


@fuzz("a character at a time", text=st.text(st.sampled_from("<>/thinkaswer|{}\\ \n"), max_size=300), rule=st.sampled_from(NAMES), opens=st.booleans())
def test_one_token_a_character(text, rule, opens):
    check(span_rule(rule), list(text), opens)


@fuzz("patterns", pattern=st.one_of(
    st.text(st.sampled_from("()?P<>action:[]^$.*+|\\{}1,x "), max_size=30).map(lambda tail: f"(?P<action>{tail}"),
    st.text(st.sampled_from("()[]^$.|\\x "), max_size=12).map(lambda inside: f"(?P<action>{inside})"),
    st.text(max_size=20)), tokens=replies())
def test_a_pattern_of_ones_own_is_one_or_is_refused(pattern, tokens):
    rule = answered(lambda: span_rule(f"pattern:{pattern}"))
    # A person's own pattern may take long on a long text: that is the pattern's.
    if rule is not None and not re.search(r"[*+{]", pattern):
        text = "".join(tokens)[:2000]
        spans = rule.find(text, False)
        assert all(0 <= a <= b <= len(text) for a, b in spans.reasonings + spans.actions)
        assert len(response_kinds(list(text), spans)) == len(text)
