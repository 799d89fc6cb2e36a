"""The span rule is chosen by the replies, and every rule's action tokens are counted."""

from actfocus_core.interop.span_choice import choose_rule
from actfocus_core.spans import span_rule
from tests.interop.files import messages

CALL = '<tool_call>\n{"name": "f"}\n</tool_call>'


def choose(*texts, given=None):
    return choose_rule([(list(text), False) for text in texts], given)


def test_the_rule_with_most_replies_that_act_is_chosen():
    assert choose("<think>a</think><answer>up</answer>").rule.name == "think_answer"
    tools = choose(CALL, CALL, r"It is \boxed{4}.")
    assert tools.rule.name == "tool_call" and tools.replies == 3
    assert tools.action_tokens == {"think_answer": 0, "tool_call": 2 * len('\n{"name": "f"}\n'), "boxed": 1, "react": 0}
    assert choose(r"so \boxed{4}").rule.name == "boxed"
    assert choose("Thought: a\nAction: go\n", "Thought: b\nFinal Answer: c").rule.name == "react"
    assert choose("Thought 1: a\nAction 1: go\n").rule.name == "react"


def test_without_any_action_the_default_stays_and_a_given_rule_is_kept():
    assert choose("nothing", "").rule.name == "think_answer"
    given = span_rule(r"pattern:move (?P<action>\w+)")
    choice = choose("move up", CALL, given=given)
    assert choice.rule is given and choice.action_tokens[given.name] == 2 and choice.action_tokens["tool_call"] > 0


def test_an_import_says_what_it_chose(read):
    run = read("chat", [{"messages": [*messages()[:2], {"role": "assistant", "content": CALL}], "reward": 1.0}])
    config = run.metadata.config
    assert (config.spans, config.spans_by, config.replies_examined) == ("tool_call", "content", 1)
    assert config.action_tokens_by_rule["tool_call"] > 0 == config.action_tokens_by_rule["think_answer"]
