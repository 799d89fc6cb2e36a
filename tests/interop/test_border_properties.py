"""Turn borders in generated dialogues: what the template wrote is found again, with special tokens and without."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfocus_core.interop.borders import Borders
from actfocus_core.interop.samples import SAMPLED, Part
from actfocus_core.trajectory import TokenKind
from tests.interop.templates import FAMILIES

BORDERS = {name: Borders(make()) for name, make in FAMILIES.items()}
BARE = [name for name in FAMILIES if name != "special_only"]
TOOL_RESULT = {
    "chatml": "<tool_response>\n{}\n</tool_response>",
    "chatml_think": "<tool_response>\n{}\n</tool_response>",
    "llama3": '"{}"',
    "special_only": "{}",
}
"""A tool result as the template writes it; Gemma's has no role for it"""
S, U, T = TokenKind.SYSTEM, TokenKind.USER, TokenKind.TEMPLATE
X = SAMPLED

WORDS = [
    "user",
    "assistant",
    "model",
    "system",
    "superuser",
    "ipython",
    "door",
    "A",
    "é",
    "日本",
    "42",
    "-4",
    "🙂",
    "left.",
]
LINE = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join).filter(lambda line: line not in WORDS[:6])
"""A line is never a role word alone: nothing tells such a line from a header without special tokens."""
TEXT = st.lists(LINE, min_size=1, max_size=4).map("\n".join) | st.lists(LINE, min_size=1, max_size=3).map("\n\n".join)
REPLY = st.one_of(
    TEXT,
    st.builds("<think>\n{}\n</think>\n<answer>{}</answer>".format, TEXT, st.sampled_from(["A", "-4", "two\nlines"])),
    st.builds('{}\n<tool_call>\n{{"name": "{}"}}\n</tool_call>'.format, TEXT, st.sampled_from(["user", "calc"])),
)


@st.composite
def dialogues(draw, family: str):
    """Messages; the last is a reply, or a tool result if the template has a role for it."""
    messages = [{"role": "system", "content": draw(TEXT)}] if draw(st.booleans()) else []
    messages += [{"role": "user", "content": draw(TEXT)}, {"role": "assistant", "content": draw(REPLY)}]
    for _ in range(draw(st.integers(0, 3))):
        roles = ["user", "tool"] if family in TOOL_RESULT else ["user"]
        messages += [{"role": draw(st.sampled_from(roles)), "content": draw(LINE)}]
        messages += [{"role": "assistant", "content": draw(REPLY)}]
    if family in TOOL_RESULT and draw(st.booleans()):
        messages.append({"role": "tool", "content": draw(LINE)})
    return messages


def stream(tokenizer, messages: list[dict]) -> tuple[str, str]:
    """Prompt and completion as an agent loop writes them: after each reply the template continues the text."""
    first = next(i for i, message in enumerate(messages) if message["role"] == "assistant")
    prompt = tokenizer.apply_chat_template(messages[:first], tokenize=False, add_generation_prompt=True)
    completion = ""
    replies = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    for i, following in zip(replies, [*replies[1:], None]):
        part = [*messages[:i], {"role": "assistant", "content": "the-reply"}, *messages[i + 1 : following]]
        text = tokenizer.apply_chat_template(part, tokenize=False, add_generation_prompt=following is not None)
        completion += messages[i]["content"] + text.split("the-reply")[1]
    return prompt, completion


def without_special(tokenizer, text: str) -> str:
    return tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"], skip_special_tokens=True)


def texts(parts: list[Part], kind: int) -> list[str]:
    return [part.text for part in parts if part.kind == kind]


def joined(parts: list[Part]) -> str:
    return "".join(part.text for part in parts)


def observations(family: str, messages: list[dict]) -> list[str]:
    """What the environment writes after the first reply, as the template writes it."""
    first = next(i for i, message in enumerate(messages) if message["role"] == "assistant")
    return [
        TOOL_RESULT[family].format(m["content"]) if m["role"] == "tool" else m["content"]
        for m in messages[first:]
        if m["role"] != "assistant"
    ]


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
def test_turns_are_found_by_special_tokens(family, data):
    messages, borders = data.draw(dialogues(family)), BORDERS[family]
    prompt, completion = stream(FAMILIES[family](), messages)
    parts = borders.completion(completion, prompt)
    assert joined(parts) == completion
    end = borders.template.end
    assert texts(parts, X) == [m["content"] + end for m in messages if m["role"] == "assistant"]
    assert texts(parts, U) == observations(family, messages)
    assert borders.how(completion) == ("role headers of the chat template" if observations(family, messages) else "")
    check_prompt(family, messages, borders.prompt(prompt), prompt)


@pytest.mark.parametrize("family", BARE)
@given(data=st.data())
def test_turns_are_found_without_special_tokens(family, data):
    messages, borders, tokenizer = data.draw(dialogues(family)), BORDERS[family], FAMILIES[family]()
    prompt, completion = (without_special(tokenizer, text) for text in stream(tokenizer, messages))
    parts = borders.completion(completion, prompt)
    assert joined(parts) == completion
    # The template's line break after the last reply cannot be told from the reply's own.
    replies = [text.removesuffix("\n") for text in texts(parts, X)]
    assert replies == [m["content"] for m in messages if m["role"] == "assistant"]
    assert [text.removesuffix("\n") for text in texts(parts, U)] == observations(family, messages)
    assert borders.how(completion).endswith("without special tokens") == bool(observations(family, messages))
    check_prompt(family, messages, borders.prompt(prompt), prompt)


def check_prompt(family: str, messages: list[dict], parts: list[Part], prompt: str) -> None:
    assert joined(parts) == prompt and parts[-1].kind == T
    system, user = [m["content"] for m in messages if m["role"] == "system"], messages[-1]["content"]
    user = next(m["content"] for m in messages if m["role"] == "user")
    if family == "gemma" and system:
        system, user = [], f"{system[0]}\n\n{user}"
    assert texts(parts, U) == [user]
    if family != "llama3":
        assert texts(parts, S) == system
    else:
        # The template itself writes the beginning of the system's message.
        assert texts(parts, S) == ["".join(["Today Date: 26 Jul 2024\n\n", *system])]


@pytest.mark.parametrize("family", FAMILIES)
@given(
    text=st.text()
    | st.lists(st.sampled_from(["user\n", "assistant\n", "\n", "<|im_end|>", "x", " ", "<think>"])).map("".join)
)
def test_no_text_is_lost_or_added(family, text):
    for parts in (
        BORDERS[family].prompt(text),
        BORDERS[family].completion(text),
        BORDERS[family].completion(text, text),
    ):
        assert joined(parts) == text
        assert all(part.text for part in parts)
        assert all(a.kind != b.kind for a, b in zip(parts, parts[1:]))


def test_whether_headers_remain_without_special_tokens():
    assert {name: borders.visible_without_special_tokens for name, borders in BORDERS.items()} == {
        "chatml": True,
        "chatml_think": True,
        "llama3": True,
        "gemma": True,
        "special_only": False,
    }
    messages = [{"role": role, "content": role[0]} for role in ("user", "assistant", "user", "assistant")]
    prompt, completion = stream(FAMILIES["special_only"](), messages)
    bare = without_special(FAMILIES["special_only"](), completion)
    assert bare == "aua" and BORDERS["special_only"].completion(bare) == [Part("aua", X)]
