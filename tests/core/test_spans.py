"""Span rules other than the method's own, and the method's own unchanged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfocus_core.dialogue import find_spans, response_kinds
from actfocus_core.errors import ActFocusError
from actfocus_core.spans import RULES, span_rule
from actfocus_core.trajectory import TokenKind


def found(rule: str, text: str, opens: bool = False) -> tuple[list[str], list[str]]:
    spans = span_rule(rule).find(text, opens)
    return ([text[a:b] for a, b in spans.reasonings], [text[a:b] for a, b in spans.actions])


@pytest.mark.parametrize(
    ("rule", "text", "reasoning", "actions"),
    [
        (
            "tool_call",
            '<think>look</think>\n<tool_call>{"a": 1}</tool_call><tool_call>{"b"}</tool_call>',
            ["look"],
            ['{"a": 1}', '{"b"}'],
        ),
        ("tool_call", "I look.\n<tool_call>x</tool_call>", ["I look.\n"], ["x"]),
        ("tool_call", "<think><tool_call>no</tool_call></think>done", ["<tool_call>no</tool_call>"], []),
        ("tool_call", "<tool_call>open", [], []),
        ("tool_call", "<tool_call>lost <tool_call>x</tool_call>", ["<tool_call>lost "], ["x"]),
        ("boxed", r"So \boxed{\frac{1}{2}} it is.", ["So "], [r"\frac{1}{2}"]),
        ("boxed", r"\boxed{1} no, \boxed{2}", [r"\boxed{1} no, "], ["2"]),
        ("boxed", r"fine \boxed{3} and \boxed{4", ["fine "], ["3"]),
        ("boxed", r"<think>hm</think> \boxed{5}", ["hm"], ["5"]),
        ("boxed", "no box", [], []),
        (
            "react",
            "Thought: I search.\nAction: search[cats]\nObservation: many",
            ["Thought: I search.\n"],
            ["search[cats]"],
        ),
        (
            "react",
            'Thought: a\nAction: find\nAction Input: {"q": 1}',
            ["Thought: a\n"],
            ['find\nAction Input: {"q": 1}'],
        ),
        (
            "react",
            "Thought 1: I search.\nAction 1: Search[cats]\nObservation 1: many\nThought 2: so\nAction 2: Finish[many]",
            ["Thought 1: I search.\n"],
            ["Search[cats]", "Finish[many]"],
        ),
        ("react", "In Action: nothing", [], []),
        (r"pattern:\[(?P<action>[^\]]*)\]", "go [up] then [left]", [], ["up", "left"]),
        (r"pattern:^(?P<reasoning>.*?)=>(?P<action>.*)$", "because=>up", ["because"], ["up"]),
    ],
)
def test_rules(rule, text, reasoning, actions):
    assert found(rule, text) == (reasoning, actions)


def test_a_thought_the_template_opened():
    assert found("boxed", r"hm</think>\boxed{1}", opens=True) == (["hm"], ["1"])
    assert found("boxed", r"hm \boxed{1}", opens=True) == ([], ["1"])


@given(
    st.lists(
        st.sampled_from(
            [
                "<think>",
                "</think>",
                "<answer>",
                "</answer>",
                "<tool_call>",
                "</tool_call>",
                r"\boxed{",
                "{",
                "}",
                "\nAction: ",
                "\nThought: ",
                "Observation:",
                " ",
                "x",
                "é",
            ]
        ),
        max_size=25,
    ),
    st.sampled_from([*RULES, "pattern:(?P<action>x+)"]),
    st.booleans(),
)
def test_any_text_has_spans_in_order_and_apart(texts, rule, opens):
    text = "".join(texts)
    spans = span_rule(rule).find(text, opens)
    edges = [edge for span in sorted(spans.reasonings + spans.actions) for edge in span]
    assert edges == sorted(edges) and all(0 <= e <= len(text) for e in edges)
    kinds = response_kinds(list(text), spans)
    for kind, wanted in ((TokenKind.REASONING, spans.reasonings), (TokenKind.ACTION, spans.actions)):
        assert "".join(c for c, k in zip(text, kinds) if k == kind) == "".join(text[a:b] for a, b in wanted)


@given(st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", " ", "x"]), max_size=12))
def test_the_default_rule_is_the_method_s_own(texts):
    text = "".join(texts)
    assert span_rule("think_answer").find(text, False) == find_spans(text)


def test_actions_are_split_only_where_the_method_splits_them():
    text = "<think></think><answer>Up || Down</answer>"
    rule = span_rule("think_answer")
    assert rule.actions(text, rule.find(text, False)) == ["Up", "Down"]
    call = span_rule("tool_call")
    assert call.actions("<tool_call> a || b </tool_call>", call.find("<tool_call> a || b </tool_call>", False)) == [
        "a || b"
    ]


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("magic", "there are think_answer, tool_call"),
        ("pattern:(", "not a regular expression"),
        ("pattern:x", "no group"),
    ],
)
def test_rules_that_are_none(rule, says):
    with pytest.raises(ActFocusError, match=says):
        span_rule(rule)
