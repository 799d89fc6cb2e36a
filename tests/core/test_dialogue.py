"""Templates taken apart, spans found on offsets, actions read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfocus_core.dialogue import ChatFormat, encode_parts, find_spans, response_kinds, split_actions
from actfocus_core.errors import ActFocusError
from actfocus_core.trajectory import TokenKind
from tests.conftest import CHATML, make_tokenizer

LLAMA3 = ("<|begin|>{% for m in messages %}<|start|>{{ m['role'] }}<|end|>\n\n{{ m['content'] | trim }}<|eot|>"
          "{% endfor %}{% if add_generation_prompt %}<|start|>assistant<|end|>\n\n{% endif %}")
GEMMA = ("<bos>{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
         "{% for m in messages %}<start>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
         "{{ m['content'] | trim }}<end>\n{% endfor %}{% if add_generation_prompt %}<start>model\n{% endif %}")
STYLES = {"chatml": (CHATML, ("<|im_start|>", "<|im_end|>"), "<|im_end|>"),
          "llama3": (LLAMA3, ("<|begin|>", "<|start|>", "<|end|>", "<|eot|>"), "<|eot|>"),
          "gemma": (GEMMA, ("<bos>", "<start>", "<end>"), "<end>")}


def _rendered(chat: ChatFormat, reply: str) -> str:
    """What the template itself makes of the dialogue, for templates with a system role."""
    messages = [{"role": "system", "content": "the task"}, {"role": "user", "content": "first look"},
                {"role": "assistant", "content": reply}, {"role": "user", "content": "second look"}]
    return chat.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize("style", STYLES)
def test_segments_join_to_the_dialogue_and_carry_the_right_kinds(style):
    chat = ChatFormat(make_tokenizer(*STYLES[style]))
    opening, following = chat.opening("the task", "first look"), chat.following("second look", closed=False)
    by_kind = {kind: "".join(t for t, k in zip(opening.texts, opening.kinds) if k == kind) for kind in TokenKind}
    assert by_kind[TokenKind.SYSTEM].strip() == "the task"
    assert by_kind[TokenKind.USER].strip() == "first look"
    assert "".join(t for t, k in zip(following.texts, following.kinds) if k == TokenKind.USER).strip() == "second look"
    for segment in (opening, following):
        assert len(segment.ids) == len(segment.kinds) == len(segment.texts)
        assert chat.tokenizer.decode(segment.ids) == "".join(segment.texts)
    if style != "gemma":
        reply = "<think>go</think><answer>Up</answer>"
        assert "".join(opening.texts) + reply + "".join(following.texts) == _rendered(chat, reply)


@pytest.mark.parametrize("style", STYLES)
def test_a_turn_the_policy_ended_itself_is_not_ended_twice(style):
    chat = ChatFormat(make_tokenizer(*STYLES[style]))
    open_, closed = chat.following("look", closed=False), chat.following("look", closed=True)
    assert open_.ids[0] == chat.end_id and chat.end_id in chat.stop_ids()
    assert open_.ids[1:] == closed.ids


def test_a_template_that_rewrites_earlier_turns_is_named():
    template = CHATML.replace("{{ m['content'] }}", "{{ m['content'].split('</think>')[-1] }}")
    with pytest.raises(ActFocusError, match="writes an earlier turn differently"):
        ChatFormat(make_tokenizer(template))


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


@pytest.mark.parametrize(("text", "reasoning", "answer"), [
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
])
def test_spans(text, reasoning, answer):
    spans = find_spans(text)
    assert tuple(span and text[slice(*span)] for span in (spans.reasoning, spans.answer)) == (reasoning, answer)


def test_kinds_are_strictly_inside_the_spans():
    texts = ["<think>", " I", " go", " </", "think", ">", "<answer>", "Up", " ||", " Left", "</answer>", "<|im_end|>"]
    kinds = response_kinds(texts, find_spans("".join(texts)))
    names = "".join(kind.name[0] for kind in kinds)
    assert names == "FRRFFFFAAAFF"  # " </" holds a part of the tag: format


@given(st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", " ", "x", "||", "<", "é"]), max_size=25))
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
