"""Templates taken apart, spans found on offsets, actions read."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from actfocus_core.dialogue import (
    ChatFormat,
    Segment,
    encode_parts,
    find_spans,
    response_kinds,
    split_actions,
)
from actfocus_core.errors import ActFocusError
from actfocus_core.trajectory import TokenKind
from tests.conftest import CHATML, make_tokenizer

QWEN = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    + CHATML
)
LLAMA3 = (
    "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
LLAMA31 = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\n"
    "{% if messages[0].role == 'system' %}{{ messages[0].content | trim }}{% set messages = messages[1:] %}{% endif %}"
    "<|eot_id|>" + LLAMA3.removeprefix("<|begin_of_text|>")
)
_TURNS = (
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ before }}"
    "{{ m.content | trim }}<end_of_turn>\n{% set before = '' %}{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
GEMMA = (
    "<bos>{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + _TURNS.replace("{{ before }}", "")
)
GEMMA3 = (
    "<bos>{% set first = namespace(text='') %}{% if messages[0].role == 'system' %}"
    "{% set first.text = messages[0].content + '\n\n' %}{% set messages = messages[1:] %}{% endif %}"
    + _TURNS.replace("{{ before }}", "{% if loop.first %}{{ first.text }}{% endif %}")
)
DEEPSEEK = (
    "<bos>{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}<|User|>"
    "{{ m.content }}{% else %}<|Assistant|>{{ m.content }}<eos>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
NO_SYSTEM = "{% for m in messages if m.role != 'system' %}" + CHATML.removeprefix("{% for m in messages %}")
_IM, _HEADER = (
    ("<|im_start|>", "<|im_end|>"),
    ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
)
_OF_GEMMA, _OF_DEEPSEEK = ("<bos>", "<start_of_turn>", "<end_of_turn>"), ("<bos>", "<eos>", "<|User|>", "<|Assistant|>")
STYLES = {
    "chatml": (CHATML, _IM, "<|im_end|>"),
    "qwen": (QWEN, _IM, "<|im_end|>"),
    "llama3": (LLAMA3, _HEADER, "<|eot_id|>"),
    "llama3.1": (LLAMA31, _HEADER, "<|eot_id|>"),
    "gemma": (GEMMA, _OF_GEMMA, "<end_of_turn>"),
    "gemma3": (GEMMA3, _OF_GEMMA, "<end_of_turn>"),
    "no system": (NO_SYSTEM, _IM, "<|im_end|>"),
    "qwen that thinks": (QWEN.replace("assistant\n{% endif", "assistant\n<think>\n{% endif"), _IM, "<|im_end|>"),
    "deepseek that appends": (DEEPSEEK, _OF_DEEPSEEK, "<eos>"),
}
"""Templates of our own in the styles of well-known models, with their special tokens and the end of a turn."""
MERGED = ("gemma", "no system")
"""Styles without a system role: the task stands in the first message."""
SAID = {
    "the task": TokenKind.SYSTEM,
    "first look": TokenKind.USER,
    "second look": TokenKind.USER,
    "third look": TokenKind.USER,
}
REPLIES = ("<think>\ngo up\n</think>\n<answer>Up</answer>", "<think>\nleft?\n</think> <answer>Left || Up</answer>")


def _rendered(chat: ChatFormat, style: str) -> str:
    """What the template itself makes of a dialogue of three observations."""
    task, *looks = SAID
    first = (
        [{"role": "user", "content": f"{task}\n\n{looks[0]}"}]
        if style in MERGED
        else [{"role": "system", "content": task}, {"role": "user", "content": looks[0]}]
    )
    later = [
        m
        for reply, look in zip(REPLIES, looks[1:])
        for m in ({"role": "assistant", "content": reply}, {"role": "user", "content": look})
    ]
    return chat.tokenizer.apply_chat_template([*first, *later], tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("style", STYLES)
def test_the_pieces_of_a_dialogue_are_the_templates_own_and_carry_the_right_kinds(style, closed):
    chat = ChatFormat(make_tokenizer(*STYLES[style]))
    task, *looks = SAID
    pieces = [chat.initial_segment(task, looks[0])]
    for reply, look in zip(REPLIES, looks[1:]):
        sampled = reply.removeprefix("<think>\n") if chat.opens_thinking else reply
        ids = chat.tokenizer(sampled, add_special_tokens=False)["input_ids"] + [chat.end_id] * closed
        texts = chat.texts(ids)
        kinds = response_kinds(texts, find_spans("".join(texts), chat.opens_thinking))
        assert {TokenKind.REASONING, TokenKind.ACTION} < set(kinds)
        pieces += [Segment(ids, kinds, texts), chat.next_segment(look, closed)]
    ids, kinds, texts = ([x for piece in pieces for x in getattr(piece, name)] for name in ("ids", "kinds", "texts"))
    rendered = _rendered(chat, style)
    assert "".join(texts) == rendered
    assert ids == chat.tokenizer(rendered, add_special_tokens=False)["input_ids"]
    # The kinds again, from where the messages stand in the rendered text: by character, not by piece.
    expected = [TokenKind.TEMPLATE] * len(rendered)
    for said, kind in [
        *SAID.items(),
        *dict.fromkeys(("go up", "left?"), TokenKind.REASONING).items(),
        (">Up<", TokenKind.ACTION),
        (">Left || Up<", TokenKind.ACTION),
    ]:
        start = rendered.index(said.strip("<>"), rendered.index(said))
        expected[start : start + len(said.strip("<>"))] = [kind] * len(said.strip("<>"))
    begins = [0, *accumulate(map(len, texts))][:-1]
    for begin, text, kind in zip(begins, texts, kinds):
        if kind == TokenKind.FORMAT:  # the tags, and the end of a turn that the policy wrote
            assert set(expected[begin : begin + len(text)]) == {TokenKind.TEMPLATE}
        elif text.strip():
            assert kind == expected[begin + len(text) - len(text.lstrip())], (text, kind)


@pytest.mark.parametrize("style", STYLES)
def test_a_turn_the_policy_ended_itself_is_not_ended_twice(style):
    chat = ChatFormat(make_tokenizer(*STYLES[style]))
    open_, closed = chat.next_segment("look", closed=False), chat.next_segment("look", closed=True)
    assert open_.ids[0] == chat.end_id and chat.end_id in chat.stop_ids()
    assert open_.ids[1:] == closed.ids


_DROPS = "{{ m.content.split('</think>')[-1] if m.role == 'assistant' else m.content }}"
_LAST_USER = (
    "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.role }}\n"
    "{% if loop.last and messages[0].role == 'system' %}{{ messages[0].content }}\n{% endif %}{{ m.content }}"
    "<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
REWRITES = {
    # Qwen3: the reasoning of a turn is left out as soon as a user speaks again.
    "qwen3": (
        CHATML.replace(
            "{{ m['content'] }}",
            "{{ m.content.split('</think>')[-1].lstrip() if m.role == 'assistant' and not loop.last else m.content }}",
        ),
        "leaves out the reasoning of earlier turns",
    ),
    "deepseek": (
        DEEPSEEK.replace("<|Assistant|>{{ m.content }}", "<|Assistant|>" + _DROPS),
        "leaves out the reasoning",
    ),
    # Qwen3 with thinking switched off: an empty thought that the history has not.
    "empty thought": (
        CHATML.replace("assistant\n{% endif", "assistant\n<think>\n\n</think>\n\n{% endif"),
        "earlier turn differently",
    ),
    # Mistral: the system prompt travels to the last message.
    "travelling system": (_LAST_USER, "the system prompt differently"),
    "only after two turns": (
        CHATML.replace("{{ m['content'] }}", "{{ m.content if loop.revindex < 4 or loop.index < 3 else '' }}"),
        "leaves out the reasoning",
    ),
    "late header": (
        CHATML.replace("assistant\n{% endif", "assistant{{ '!' if messages|length > 3 else '' }}\n{% endif"),
        "earlier turn differently",
    ),
    "other header": (
        CHATML.replace(
            "{{ m['role'] }}", "{{ m.role }}{{ '!' if m.role == 'assistant' and loop.index > 3 else '' }}"
        ).replace("assistant\n{% endif", "assistant{{ '!' if messages|length > 3 else '' }}\n{% endif"),
        "before a later reply",
    ),
    "shouts": (CHATML.replace("m['content']", "m.content | upper"), "once each"),
}


@pytest.mark.parametrize("case", REWRITES)
def test_a_template_that_rewrites_earlier_turns_is_named(case):
    template, what = REWRITES[case]
    with pytest.raises(ActFocusError, match=what):
        ChatFormat(make_tokenizer(template, ("<|im_start|>", "<|im_end|>", *_OF_DEEPSEEK)))


def test_an_encoding_that_depends_on_the_beginning_of_the_text_does_not_leak_in():
    """A tokenizer that puts a space before every text, as SentencePiece models of the Llama-2 kind do."""
    tokenizer = make_tokenizer(*STYLES["chatml"])
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement="_", prepend_scheme="first"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    assert tokenizer("look")["input_ids"] != tokenizer("<|im_end|>look")["input_ids"][1:]
    chat = ChatFormat(tokenizer)
    whole = tokenizer(_rendered(chat, "chatml"), add_special_tokens=False)["input_ids"]
    tail = chat.next_segment("third look", closed=True).ids
    assert whole[-len(tail) :] == tail


def test_a_tokenizer_without_a_template_is_refused():
    with pytest.raises(ActFocusError, match="no chat template"):
        ChatFormat(make_tokenizer(template=None))


def test_a_template_that_opens_the_thinking():
    chat = ChatFormat(make_tokenizer(CHATML.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")))
    assert chat.opens_thinking
    assert find_spans("go</think><answer>Up</answer>", chat.opens_thinking).answer == (18, 20)


@given(st.text(max_size=40))
def test_texts_of_tokens_join_to_the_decoded_whole(text):
    chat = _CHAT
    ids = chat.tokenizer(text, add_special_tokens=False)["input_ids"]
    texts = chat.texts(ids)
    assert len(texts) == len(ids) and "".join(texts) == text


_CHAT = ChatFormat(make_tokenizer())


def test_a_character_split_over_tokens_goes_to_its_last():
    ids = _CHAT.tokenizer("a🙂b", add_special_tokens=False)["input_ids"]
    assert _CHAT.texts(ids) == ["a", "", "", "", "🙂", "b"]
    segment = encode_parts(_CHAT.tokenizer, [[("a🙂", TokenKind.USER), ("b", TokenKind.SYSTEM)]])[0]
    assert segment.texts == ["a", "", "", "", "🙂", "b"] and segment.kinds == [TokenKind.USER] * 5 + [TokenKind.SYSTEM]


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("<think>ab</think><answer>Up</answer>", "ab", "Up"),
        (" <think>a</think>\n <answer> Up || Left </answer> bye", "a", " Up || Left "),
        ("<think>a</think> so <answer>Up</answer>", "a", None),
        ("<think>a</think><answer>Up", "a", None),
        ("<think>a<answer>Up</answer>", None, None),
        ("<answer>Up</answer>", None, None),
        ("<answer>Up</answer><think>a</think>", "a", None),
        ("<think>a <answer>Up</answer></think>", "a <answer>Up</answer>", None),
        ("<think></think><answer></answer>", "", ""),
        ("", None, None),
    ],
)
def test_spans(text, reasoning, answer):
    spans = find_spans(text)
    assert tuple(span and text[slice(*span)] for span in (spans.reasoning, spans.answer)) == (reasoning, answer)


def test_kinds_are_strictly_inside_the_spans():
    texts = ["<think>", " I", " go", " </", "think", ">", "<answer>", "Up", " ||", " Left", "</answer>", "<|im_end|>"]
    kinds = response_kinds(texts, find_spans("".join(texts)))
    names = "".join(kind.name[0] for kind in kinds)
    assert names == "FRRFFFFAAAFF"  # " </" holds a part of the tag: format


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", " ", "x", "||", "<", "é"]), max_size=25)
)
def test_any_string_has_spans_in_order_and_a_kind_for_every_token(texts):
    text = "".join(texts)
    spans = find_spans(text)
    if spans.answer:
        assert spans.reasoning and 0 <= spans.reasoning[0] <= spans.reasoning[1] < spans.answer[0] <= spans.answer[1]
    kinds = response_kinds(texts, spans)
    inside = "".join(t for t, k in zip(texts, kinds) if k == TokenKind.ACTION)
    assert inside in (text[slice(*spans.answer)] if spans.answer else "")


def test_actions_are_split_and_stripped():
    assert split_actions(" Left ||Up|| ||") == ["Left", "Up"]
    assert split_actions("") == []
