"""Messages and blocks of token streams: those of real chat templates, and whatever else a stream holds."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from actfocus_core.blocks import BlockType, find
from actfocus_core.blocks.json_text import find_json
from actfocus_core.blocks.results import is_error
from actfocus_core.trajectory import TokenKind as Kind
from tests.hostile import MARKUP, UNICODE

SYSTEM, USER, TEMPLATE, REASONING, ACTION, FORMAT = Kind
CALL = '{"name": "look", "arguments": {"id": 0}}'
PARTS = re.compile(r"<\|\w+\|>|</?\w+>|\w+|\s+|.")


def stream(*parts: tuple[str, int]) -> tuple[list[str], np.ndarray]:
    """Tokens of parts of text, each of one kind: words, signs, tags and white space."""
    pieces = [(piece, kind) for text, kind in parts for piece in PARTS.findall(text)]
    return [piece for piece, _ in pieces], np.array([kind for _, kind in pieces], np.uint8)


def told(parts) -> list[tuple[str, str, str, str]]:
    """(role, type, name, text) of every block."""
    texts, kinds = stream(*parts)
    found = find(texts, kinds)
    return [
        (found.messages[b.message].role, str(b.type), b.name, "".join(texts[b.start : b.end]).strip())
        for b in found.blocks
    ]


HERMES = [
    ("<|im_start|>system\n", TEMPLATE),
    ("Policy.", SYSTEM),
    ("<|im_end|>\n<|im_start|>user\n", TEMPLATE),
    ("Hi", USER),
    ("<|im_end|>\n<|im_start|>assistant\n", TEMPLATE),
    ("I look.\n", REASONING),
    ("<tool_call>", FORMAT),
    (f"\n{CALL}\n", ACTION),
    ("</tool_call><|im_end|>", FORMAT),
    ("\n<|im_start|>user\n<tool_response>\n", TEMPLATE),
    ("Error: not found", USER),
    ("\n</tool_response><|im_end|>\n<|im_start|>assistant\n", TEMPLATE),
    ("Sorry.<|im_end|>", FORMAT),
]


def test_a_chatml_dialogue_with_a_call():
    assert told(HERMES) == [
        ("system", "text", "", "Policy."),
        ("user", "text", "", "Hi"),
        ("assistant", "reasoning", "", "I look."),
        ("assistant", "call", "look", f"<tool_call>\n{CALL}\n</tool_call>"),
        ("user", "result", "look", "<tool_response>\nError: not found\n</tool_response>"),
        ("assistant", "text", "", "Sorry."),
    ]
    found = find(*stream(*HERMES))
    call = next(b for b in found.blocks if b.type == BlockType.CALL)
    result = next(b for b in found.blocks if b.type == BlockType.RESULT)
    assert found.blocks[result.call] == call and call.error and result.error
    assert found.calls == [call]
    whole = "".join(stream(*HERMES)[0])
    assert [whole[start:end] for start, end in call.json] == [CALL]


@pytest.mark.parametrize(
    ("header", "role"),
    [
        ("<|start_header_id|>ipython<|end_header_id|>\n\n", "tool"),
        ("<start_of_turn>model\n", "assistant"),
        ("<|start|>assistant<|channel|>final<|message|>", "assistant"),
        ("<|observation|>\n", "tool"),
        ("<\uff5cUser\uff5c>", "user"),
        ("[/INST]", "assistant"),
    ],
)
def test_headers_of_other_templates(header, role):
    texts, kinds = [header, "some text"], np.array([TEMPLATE, USER], np.uint8)
    assert [(m.role, m.body) for m in find(texts, kinds).messages] == [(role, 1)]


def test_a_header_in_ordinary_text_is_text():
    """A person may quote the template, and a policy may sample it."""
    quoted = "<|im_start|>assistant\nI am"
    for kind in (USER, FORMAT):
        texts = ["<|im_start|>user\n", f"see {quoted}"] if kind == USER else ["<|im_start|>assistant\n", quoted]
        assert len(find(texts, np.array([TEMPLATE, kind], np.uint8)).messages) == 1


def test_headers_without_special_tokens():
    parts = [
        ("system\n", TEMPLATE),
        ("Policy.", SYSTEM),
        ("user\n\n", TEMPLATE),
        ("assistant\nI am", USER),
        ("\nassistant\n", TEMPLATE),
    ]
    found = find(*stream(*parts, ("Hi", FORMAT)))
    assert [(m.role, m.sampled) for m in found.messages] == [("system", False), ("user", False), ("assistant", True)]


def test_without_a_template_the_origin_of_the_tokens_decides():
    react = [
        ("Question: who?", USER),
        ("Thought: I look it up.\n", REASONING),
        ("Action:", FORMAT),
        (" search[old mill", ACTION),
        ("]\n", FORMAT),
        ("Observation: built by two brothers.\n", USER),
        ("Action: finish[two brothers]", FORMAT),
    ]
    assert told(react) == [
        ("user", "text", "", "Question: who?"),
        ("assistant", "reasoning", "", "Thought: I look it up."),
        ("assistant", "call", "search", "Action: search[old mill]"),
        ("environment", "result", "search", "Observation: built by two brothers."),
        ("assistant", "call", "finish", "Action: finish[two brothers]"),
    ]


def test_tool_definitions_and_calls_without_tags():
    definition = json.dumps({"type": "function", "function": {"name": "look", "parameters": {}}})
    parts = [
        ("<|im_start|>system\n", TEMPLATE),
        (f"<tools>\n{definition}\n</tools>", SYSTEM),
        ("<|im_start|>assistant\n", TEMPLATE),
        ('{"name": "look", "parameters": {"id": 1}}', ACTION),
    ]
    assert [row[:3] for row in told(parts)] == [
        ("system", "text", ""),
        ("system", "tools", "look"),
        ("system", "text", ""),
        ("assistant", "call", "look"),
    ]


def test_broken_calls_stay_calls_without_more_than_their_text_says():
    """A reply that was cut, and a call whose JSON is broken; a result without a call has none."""
    cut = [("<|im_start|>assistant\n", TEMPLATE), ('<tool_call>\n{"name": "look", "argum', FORMAT)]
    assert told(cut) == [("assistant", "call", "look", '<tool_call>\n{"name": "look", "argum')]
    found = find(*stream(*cut))
    assert found.blocks[0].json == () and found.blocks[0].error is None
    alone = find(*stream(("<|im_start|>tool\n", TEMPLATE), ("42", USER)))
    assert [(b.type, b.call, b.error) for b in alone.blocks] == [(BlockType.RESULT, None, False)]


@pytest.mark.parametrize(
    "text",
    [
        "Error: no such file",
        "ERROR",
        "ValueError: bad",
        "Traceback (most recent call last):\n  File x\nKeyError: 'a'",
        "starting\nTraceback (most recent call last):\n  File x\nKeyError: 'a'",
        "bash: foo: command not found",
        '{"error": "gone"}',
        '{"success": false}',
        '{"status": "failed"}',
        '{"status": 404}',
        '{"exit_code": 1, "output": ""}',
        '{"is_error": true, "content": "x"}',
    ],
)
def test_results_that_say_they_failed(text):
    assert is_error(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.py",
        "Errors are rare here.",
        "error-free build",
        "The log mentions Traceback (most recent call last): twice.\nAll tests pass.",
        '{"error": null, "result": 3}',
        '{"errors": [], "success": true}',
        '{"status": "ok"}',
        '{"status": 200}',
        '{"exit_code": 0}',
        '[{"error": "one of many"}]',
    ],
)
def test_results_that_do_not(text):
    assert not is_error(text)


def test_json_in_text():
    text = 'see [1] and {a: 1}\n{"a": {"b": 2}}\n[1, 2]\nx: [{"c": 3}]\n{"cut": '
    spans = list(find_json(text, 0, len(text)))
    assert [span.value for span in spans] == [{"a": {"b": 2}}, [{"c": 3}]]
    assert [json.loads(text[span.start : span.end]) for span in spans] == [span.value for span in spans]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 50_000,
        '\n{"a":' * 20_000,
        "<think>" * 5_000,
        "<tool_call>" * 5_000,
        "<tool_response>" * 5_000,
        "\n{" + "9" * 20_000,
        "Action: " + "a" * 50_000,
        "<|im_start|>" * 5_000,
    ],
)
def test_hostile_text_is_read_to_its_end(text):
    pieces = [text[i : i + 7] for i in range(0, len(text), 7)]
    for kind in (USER, FORMAT, TEMPLATE):
        _covers(pieces, np.full(len(pieces), kind, np.uint8))


def test_every_token_is_in_one_message_and_every_body_in_its_blocks():
    rng = np.random.default_rng(3)
    words = [
        "<|im_start|>",
        "user\n",
        "assistant\n",
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        CALL,
        "Action: f[",
        "\n",
    ]
    words += ["<tool_response>", "</tool_response>", "<|im_end|>", "", "Observation:", *MARKUP[:4], UNICODE[0]]
    for _ in range(300):
        n = int(rng.integers(0, 40))
        texts = [words[i] for i in rng.integers(0, len(words), n)]
        _covers(texts, rng.integers(0, 6, n).astype(np.uint8))


def _covers(texts: list[str], kinds: np.ndarray) -> None:
    found = find(texts, kinds)
    ends = [0, *(m.end for m in found.messages)]
    assert [m.start for m in found.messages] == ends[:-1] and ends[-1] == len(texts)
    for k, message in enumerate(found.messages):
        blocks = [b for b in found.blocks if b.message == k]
        assert [b.start for b in blocks] + [message.close] == [message.body, *(b.end for b in blocks)]
        assert all(b.start < b.end for b in blocks)
    for block in found.blocks:
        assert block.call is None or found.blocks[block.call].type == BlockType.CALL


def test_lengths_must_be_equal():
    with pytest.raises(ValueError, match="1 texts for 2 kinds"):
        find(["a"], np.zeros(2, np.uint8))
