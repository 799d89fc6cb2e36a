"""Messages of all layouts become roles and text; what has no place in a text is named."""

import json

import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.messages import OTHER_REASONING, PARTIAL_MASK, messages_of
from actfocus_core.interop.reading import Record
from actfocus_core.interop.tool_calls import NO_ARGUMENTS

CALL = '<tool_call>\n{"name": "find", "arguments": {"q": "é", "n": null}}\n</tool_call>'
ARGUMENTS = {"q": "é", "n": None}


def read(*items, **fields):
    return messages_of(Record({"messages": list(items), **fields}, "a.jsonl, line 1"), "messages")


def assistant(**fields):
    (message,) = read({"role": "assistant", **fields})
    return message


@pytest.mark.parametrize(
    "fields",
    [
        {
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "find", "arguments": json.dumps(ARGUMENTS)}}
            ]
        },
        {"tool_calls": [{"function": {"name": "find", "arguments": ARGUMENTS}}], "content": ""},
        {"tool_calls": [json.dumps({"name": "find", "arguments": ARGUMENTS})], "content": None},
        {"tool_calls": [{"name": "find", "args": ARGUMENTS, "id": "1", "type": "tool_call"}]},
        {"tool_calls": [{"name": "find", "parameters": ARGUMENTS}]},
        {"tool_calls": [{"type": "custom", "custom": {"name": "find", "input": ARGUMENTS}}]},
        {"function_call": {"name": "find", "arguments": json.dumps(ARGUMENTS)}, "content": None},
        {"content": [{"type": "tool_use", "id": "1", "name": "find", "input": ARGUMENTS}]},
        {"content": [{"type": "tool_call", "value": json.dumps({"name": "find", "arguments": ARGUMENTS})}]},
        {"content": [{"type": "tool_calls", "value": [{"name": "find", "arguments": ARGUMENTS}]}]},
    ],
)
def test_a_call_of_any_layout_is_the_same_text(fields):
    message = assistant(**fields)
    assert (message.content, message.unread) == (CALL, ())


def test_a_call_of_a_table_has_no_keys_that_arrow_added():
    call = {"function": {"name": "find", "arguments": {"q": "é", "n": None, "deep": [{"a": 1, "b": None}]}}}
    record = Record(
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}, "row 1", from_table=True
    )
    (message,) = messages_of(record, "messages")
    assert json.loads(message.content.split("\n")[1])["arguments"] == {"q": "é", "deep": [{"a": 1}]}


def test_a_call_without_arguments_has_none_and_one_with_unknown_ones_is_named():
    assert '"arguments": {}' in assistant(tool_calls=[{"name": "look", "id": "1"}]).content
    assert assistant(tool_calls=[{"name": "look", "id": "1"}]).unread == ()
    assert assistant(tool_calls=[{"name": "look", "body": {"a": 1}}]).unread == (NO_ARGUMENTS,)
    with pytest.raises(ActFocusError, match=r"line 1: 'messages'\[0\]: 'tool_calls' holds a call without a name"):
        assistant(tool_calls=[{"args": {}}])


THOUGHT = "<think>\nwest\n</think>\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "west"},
        {"reasoning": "west", "reasoning_content": "west"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "west", "signature": "x"}], "reasoning": "west"},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "west"}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "west", "signature": "x"}]},
        {"content": [{"type": "thinking", "thinking": "west", "signature": "x"}, {"type": "text", "text": "go"}]},
        {"content": [{"type": "reasoning", "value": "west"}, {"type": "text", "value": "go"}]},
    ],
)
def test_reasoning_of_any_layout_is_written_once(fields):
    message = assistant(**{"content": "go", **fields})
    assert (message.content, message.unread) == (THOUGHT + "go", ())


def test_reasoning_that_the_content_repeats_is_written_once_and_other_reasoning_is_named():
    content = "<think>\nwest\n</think>\ngo"
    assert assistant(content=content, reasoning_content="west").content == content
    assert assistant(content="west\n</think>\ngo", reasoning="west").content == "west\n</think>\ngo"
    other = assistant(content=content, reasoning_content="east")
    assert (other.content, other.unread) == (content, (OTHER_REASONING,))
    encrypted = assistant(content="go", reasoning_details=[{"type": "reasoning.encrypted", "data": "x"}])
    assert encrypted.unread == ("encrypted or unreadable reasoning",)


def test_the_items_of_one_reply_are_one_message():
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "door?"}]},
        {"type": "reasoning", "id": "1", "summary": [{"type": "summary_text", "text": "west"}], "content": None},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look"}]},
        {"type": "function_call", "call_id": "c", "name": "find", "arguments": json.dumps(ARGUMENTS)},
        {"type": "function_call_output", "call_id": "c", "output": "found"},
        {"type": "web_search_call", "id": "2"},
    ]
    user, reply, tool, unknown = read(*items)
    assert (user.role, user.content, tool.role, tool.content) == ("user", "door?", "tool", "found")
    assert (reply.role, reply.content) == ("assistant", f"{THOUGHT}I look\n{CALL}")
    assert unknown.unread == ("items of the type 'web_search_call'",)


def test_a_tools_result_in_a_message_of_the_user_is_the_tools():
    result = {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "found"}]}
    assert [(m.role, m.content) for m in read({"role": "user", "content": [result]})] == [("tool", "found")]
    both = read({"role": "user", "content": [result, {"type": "text", "text": "and now?"}]})
    assert [(m.role, m.content) for m in both] == [("tool", "found"), ("user", "and now?")]


def test_sharegpt_has_other_names():
    found = read(
        {"from": "system", "value": "Play."},
        {"from": "human", "value": "door?"},
        {"from": "function_call", "value": json.dumps({"name": "find", "arguments": ARGUMENTS})},
        {"from": "observation", "value": "found"},
        {"from": "gpt", "value": "west"},
    )
    assert [m.role for m in found] == ["system", "user", "assistant", "tool", "assistant"]
    assert [m.content for m in found[2:]] == [CALL, "found", "west"]


@pytest.mark.parametrize(
    ("fields", "sampled", "weight"),
    [
        ({}, True, 1.0),
        ({"sampled": False}, False, 1.0),
        ({"trainable": False}, False, 1.0),
        ({"loss_mask": 0}, False, 1.0),
        ({"loss_mask": [0, 0, 0]}, False, 1.0),
        ({"mask": True}, True, 1.0),
        ({"weight": 0.5}, True, 0.5),
        ({"loss_weight": 0.0}, False, 1.0),
        ({"weight": 1, "sampled": False}, False, 1.0),
        ({"agent": {"name": "judge", "trainable": False}}, False, 1.0),
    ],
)
def test_what_was_sampled_is_taken_from_the_record(fields, sampled, weight):
    message = assistant(content="west", **fields)
    assert (message.sampled, message.loss_weight, message.flagged) == (sampled, weight, bool(fields))


def test_a_list_of_flags_belongs_to_the_messages():
    rows = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "assistant", "content": "c"},
    ]
    assert [m.sampled for m in read(*rows, loss_mask=[0, 0, 1])] == [True, False, True]
    assert not any(m.flagged for m in read(*rows, loss_mask=[0, 1]))


def test_bad_flags_and_masks_of_a_part_are_told():
    assert assistant(content="west", loss_mask=[0, 1, 1]).unread == (PARTIAL_MASK,)
    with pytest.raises(ActFocusError, match="the loss flag is '-1'; it must be true, false, or a weight of 0 or above"):
        assistant(content="west", weight=-1)
    with pytest.raises(ActFocusError, match="'role' is 'critic'; it must be one of system"):
        read({"role": "critic", "content": "west"})
