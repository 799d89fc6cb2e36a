"""The environment's text inside replies: found where it is, and not where the policy only speaks of it."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.environment_text import TAGS, environment_rule
from actfocus_core.interop.samples import SAMPLED, Part
from actfocus_core.trajectory import TokenKind

AUTO = environment_rule("auto")
INFORMATION = "<information>Page 1: The mill was built by two brothers.</information>"


def found(text: str, spec: str = "auto") -> list[tuple[str, str]]:
    return [(text[start:end], name) for start, end, name in environment_rule(spec).find(text)]


@pytest.mark.parametrize(
    ("before", "environment", "name", "after"),
    [
        ("<think>I look.</think>\n<search>mill</search>\n\n", INFORMATION, "<information>", "\n\n<answer>two</answer>"),
        ("<think>I look. <search>mill</search>", INFORMATION, "<information>", " so</think><answer>two</answer>"),
        ("I expect <information> next.\n<search>mill</search>\n", INFORMATION, "<information>", "\nok"),
        ("<code>print(6 * 7)</code>\n", "<interpreter>\n42\n</interpreter>", "<interpreter>", "\n42"),
        ("<tool_call>\n{}\n</tool_call>\n", "<tool_response>\n42\n</tool_response>", "<tool_response>", "\n42"),
        ("", "<observation>a door</observation>", "<observation>", ""),
        ("a", "<tool_result>b</tool_result>", "<tool_result>", "c"),
        ("<search>mill</search>\n", "<information></information>", "<information>", "\nNothing."),
        ("<search>mill</search>\n\n", "<information>Page 1: The mi", "<information>", ""),
        ("<think>I look. <search>mill</search>", "<information>Page 1: The mi", "<information>", ""),
        (
            "Action: search[mill]\n",
            "Observation: two\nbrothers\n",
            "Observation:",
            "Thought: done\nAction: finish[two]",
        ),
        ("Thought 1: a\nAction 1: look\n", "Observation 1: a door\n", "Observation:", "Thought 2: b"),
        ("Action: s\nAction Input: x\n", "Observation: 1\nObservation: 2\n", "Observation:", "Final Answer: 3"),
        ("Action: s\n", "Observation: 1", "Observation:", ""),
    ],
)
def test_text_of_the_environment(before, environment, name, after):
    assert found(before + environment + after) == [(environment, name)]
    parts, counts = AUTO.split([Part("Q", TokenKind.USER), Part(before + environment + after, SAMPLED)])
    kinds = [(before, SAMPLED), (environment, TokenKind.USER), (after, SAMPLED)]
    assert parts == [Part("Q", TokenKind.USER), *(Part(text, kind) for text, kind in kinds if text)]
    assert counts == Counter([name])


@pytest.mark.parametrize(
    "text",
    [
        "<think>The results come between <information> and </information>.</think><answer>x</answer>",
        "<think>The results come in `<information>` ... `</information>`.</think><answer>x</answer>",
        "<think>I need <information></information> tags.</think><answer>x</answer>",
        "I need <information></information> tags.",
        "<think>I wait for <information>.</think><answer>x</answer>",
        "<think>\n<information> is what I wait for.</think>\n<answer>x</answer>",
        "<think>\n<information> is what I wait",
        "I wait for <information> to",
        "So:\n<information> is what I wait for.\n<answer>x</answer>",
        "<think>I use <information>.</think><answer>x</answer> It ends with </information>.",
        "</information> first, then <Information>x</Information>",
        "Observation: I see a door.\nThought: left\nAction: go",
        "Action: go. Observation: none",
        "<think>a</think><answer>b</answer>",
    ],
)
def test_text_that_only_speaks_of_it(text):
    assert found(text) == []
    assert AUTO.split([Part(text, SAMPLED)]) == ([Part(text, SAMPLED)], Counter())


def test_an_observation_answers_one_action():
    text = "Action: a\nObservation: b\nThought: c\nObservation: my own\nThought: d\nAction: e\nObservation: f"
    assert found(text) == [("Observation: b\n", "Observation:"), ("Observation: f", "Observation:")]


def test_the_outer_of_nested_spans_counts():
    text = f"<tool_response>{INFORMATION}</tool_response>\n{INFORMATION}"
    assert [name for _, name in found(text)] == ["<tool_response>", "<information>"]
    assert environment_rule("auto").split([Part(text, SAMPLED)])[1] == {"<tool_response>": 1, "<information>": 1}


def test_specifications():
    text = "Action: a\nObservation: b\nThought: <page>c</page><observation>d</observation>"
    observation, page, tag = "Observation: b\n", "<page>c</page>", "<observation>d</observation>"
    for spec, spans in [
        ("none", []),
        ("page", [(page, "<page>")]),
        ("<page>", [(page, "<page>")]),
        ("observation", [(observation, "Observation:")]),
        ("<observation>", [(tag, "<observation>")]),
        ("page, observation", [(observation, "Observation:"), (page, "<page>")]),
        ("auto", [(observation, "Observation:"), (tag, "<observation>")]),
        ("auto,page", [(observation, "Observation:"), (page, "<page>"), (tag, "<observation>")]),
        ("pattern:(?P<environment>[b,]{1,2})\n", [("b", "pattern")]),
        ("page,pattern:Observation(?P<environment>: b)", [(": b", "pattern"), (page, "<page>")]),
        ("pattern:(?P<environment>z*)", []),
    ]:
        assert found(text, spec) == spans


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("", "'' is no tag name"),
        ("information,", "'' is no tag name"),
        ("my tag", "'my tag' is no tag name"),
        ("none,auto", "'none' is no tag name"),
        ("<>", "'<>' is no tag name"),
        ("xpattern:a", "'xpattern:a' is no tag name"),
        ("pattern:(", "not a regular expression"),
        ("pattern:a", "has no group"),
    ],
)
def test_a_bad_specification_is_one_line(spec, says):
    with pytest.raises(ActFocusError, match=says) as error:
        environment_rule(spec)
    assert "\n" not in str(error.value)


PIECES = [
    *(f"<{tag}>" for tag in TAGS),
    *(f"</{tag}>" for tag in TAGS),
    "<think>",
    "</think>",
    "</search>",
    "\nAction: x",
]
PIECES += ["\nObservation: ", "\nThought: ", "\n", " and ", "text"]


@given(text=st.text() | st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_spans_are_disjoint_and_no_text_is_lost(text):
    spans = AUTO.find(text)
    edges = [edge for start, end, _ in spans for edge in (start, end)]
    assert edges == sorted(edges) and all(start < end for start, end, _ in spans) and min(edges, default=0) >= 0
    parts, counts = AUTO.split([Part(text, SAMPLED)])
    assert "".join(part.text for part in parts) == text
    assert counts == Counter(name for _, _, name in spans)


@given(
    replies=st.lists(
        st.tuples(st.sampled_from(["I look.", "<think>a</think>", ""]), st.sampled_from(TAGS)), min_size=1
    ),
    text=st.text(min_size=1).filter(lambda text: "<" not in text and text.strip(" \t\n`'\"*") not in ("", "and")),
)
def test_every_closed_pair_is_found(replies, text):
    text = f"page {text}"
    completion = "".join(f"{reply}<search>q</search>\n<{tag}>{text}</{tag}>\n" for reply, tag in replies)
    assert found(completion) == [(f"<{tag}>{text}</{tag}>", f"<{tag}>") for _, tag in replies]
