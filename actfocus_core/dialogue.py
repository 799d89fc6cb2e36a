"""From chat messages to token ids, and from sampled ids back to actions.

A dialogue is append-only: the initial segment (system prompt, first user message and the header of the reply), then
alternately a sampled reply and the template around the next user message. Sampled tokens are never rendered or encoded
again. Their kinds (reasoning, action, format) are determined from the character offsets of the sampled ids.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, groupby
from typing import Any

import numpy as np

from actfocus_core.errors import ActFocusError
from actfocus_core.trajectory import TokenKind

THINK, ANSWER = ("<think>", "</think>"), ("<answer>", "</answer>")
SEPARATOR = "||"
_SIGNS = "+-\N{MINUS SIGN}\N{PLUS-MINUS SIGN}"
_REPLY_TAG = re.compile(r"</?(?:think|answer|action|tool_call|tool_response)>")
_SYSTEM, _USER, _NEXT, _THOUGHT = (f"actfocus-{word}-51c9" for word in ("system", "user", "next", "thought"))
_REPLY = f"<think>\n{_THOUGHT}\n</think>\n<answer>actfocus-51c9</answer>"
"""Placeholder messages; the text rendered around them is the template."""


@dataclass(frozen=True)
class Segment:
    """Consecutive tokens of a stream with their kinds and texts; three lists of equal length."""

    ids: list[int]
    kinds: list[int]
    texts: list[str]


class ChatFormat:
    """A tokenizer's chat template, split once into the texts before and after each message.

    Raises ActFocusError if the tokenizer has no chat template or no offsets, or if a dialogue cannot be extended by
    appending tokens: the template rewrites earlier turns, or a part of the dialogue is encoded differently alone than
    within the whole.
    """

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.name = tokenizer.name_or_path
        if not getattr(tokenizer, "chat_template", None):
            raise ActFocusError(f"{self.name}: the tokenizer has no chat template; choose an instruct or chat model")
        if not tokenizer.is_fast:
            raise ActFocusError(f"{self.name}: the tokenizer gives no offsets; a fast tokenizer is needed")
        self._split_template()
        self.texts = TokenTexts(tokenizer, self.end_id)

    def _split_template(self) -> None:
        """Split the rendered template at the placeholders, and check that it only appends."""
        messages, initial = self._first_messages()
        self.opens_thinking = initial.rstrip().endswith(THINK[0])
        """Whether the template itself writes ``<think>``, so that a response begins inside the reasoning span"""
        turn = [{"role": "assistant", "content": _REPLY}, {"role": "user", "content": _NEXT}]
        dialogue, longer = self._render([*messages, *turn]), self._render([*messages, *turn, *turn])
        before = self._without_think_tag(initial) + _REPLY
        if not dialogue.startswith(before):
            raise self._rewrite_error(initial, dialogue)
        closing = dialogue[len(before) :]
        if longer != before + self._without_think_tag(closing) + _REPLY + closing:
            raise self._rewrite_error(initial, longer)
        self._before_system, after_system = initial.split(_SYSTEM)
        self._before_user, self._header = after_system.split(_USER)
        after_reply, header = closing.split(_NEXT)
        if header != self._header:
            raise ActFocusError(
                f"{self.name}: the chat template writes {header!r} before a later reply and "
                f"{self._header!r} before the first; use a template with the same header before every reply"
            )
        self._end, self._before_next = self._split_end(after_reply)
        ids = self._encode(closing)["input_ids"]
        if self._encode(dialogue)["input_ids"][-len(ids) :] != ids:
            raise ActFocusError(
                f"{self.name}: the tokenizer encodes the text after a reply differently than within the "
                "whole dialogue, so a dialogue cannot be continued token by token; use another tokenizer"
            )

    def _first_messages(self) -> tuple[list[dict[str, str]], str]:
        """The first messages in the roles that the template supports, and their rendered text."""
        system, user = {"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}
        try:
            messages = [system, user]
            initial = self._render(messages)
        except Exception:
            initial = ""
        if _SYSTEM not in initial:
            # Without a system role (Gemma's template raises, others omit it) the task goes into the first user message.
            try:
                messages = [{"role": "user", "content": f"{_SYSTEM}\n\n{_USER}"}]
                initial = self._render(messages)
            except Exception as error:
                raise ActFocusError(f"{self.name}: the chat template refused a user message ({error})") from None
        counts = [initial.count(word) for word in (_SYSTEM, _USER)]
        if counts != [1, 1] or initial.index(_SYSTEM) > initial.index(_USER):
            raise ActFocusError(
                f"{self.name}: the chat template does not write the system and the user message "
                "once each, in this order; use one that does"
            )
        return messages, initial

    def _without_think_tag(self, text: str) -> str:
        """The text before a reply without a ``<think>`` opened by the template: in the history it is in the reply."""
        return text[: text.rindex(THINK[0])] if self.opens_thinking else text

    def _rewrite_error(self, initial: str, dialogue: str) -> ActFocusError:
        """The error for a template that changes earlier turns."""
        if dialogue.count(_THOUGHT) < dialogue.count(_NEXT):
            change = (
                "leaves out the reasoning of earlier turns once a later one follows, as Qwen3's and DeepSeek-R1's do"
            )
        elif not dialogue.startswith(initial[: initial.index(_USER)]):
            change = "writes the system prompt differently once a later turn follows"
        else:
            change = "writes an earlier turn differently once a later one follows"
        return ActFocusError(
            f"{self.name}: the chat template {change}, so a dialogue cannot be continued token by "
            "token; put a template that only appends into the model folder (chat_template.jinja)"
        )

    def _split_end(self, closing: str) -> tuple[str, str]:
        """Split the text after a reply behind its end-of-turn token, the first special token."""
        encoded = self._encode(closing)
        special = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
        for token, (_, end) in zip(encoded["input_ids"], encoded["offset_mapping"]):
            if token in special:
                self.end_id = token
                return closing[:end], closing[end:]
        raise ActFocusError(
            f"{self.name}: the chat template ends a turn without a special token, "
            "so the policy could not end its turn itself"
        )

    def initial_segment(self, system: str, user: str) -> Segment:
        """The system prompt, the first observation and the header of the first reply."""
        return self._segment(
            (self._before_system, TokenKind.TEMPLATE),
            (system, TokenKind.SYSTEM),
            (self._before_user, TokenKind.TEMPLATE),
            (user, TokenKind.USER),
            (self._header, TokenKind.TEMPLATE),
        )

    def next_segment(self, user: str, closed: bool) -> Segment:
        """The tokens between a reply and the next one: end of turn, observation, header.

        ``closed``: the reply already contains the end-of-turn token, so it is not added.
        """
        whole = self._segment(
            (self._end, TokenKind.TEMPLATE),
            (self._before_next, TokenKind.TEMPLATE),
            (user, TokenKind.USER),
            (self._header, TokenKind.TEMPLATE),
        )
        # Always encode from the end-of-turn token on: some tokenizers put a space before a text that stands alone.
        start = whole.ids.index(self.end_id) + 1 if closed else 0
        return Segment(whole.ids[start:], whole.kinds[start:], whole.texts[start:])

    def stop_ids(self) -> list[int]:
        """Ids of the tokens that end the policy's turn."""
        eos = self.tokenizer.eos_token_id
        return sorted({self.end_id} | ({eos} if eos is not None else set()))

    def _segment(self, *parts: tuple[str, TokenKind]) -> Segment:
        return encode_parts(self.tokenizer, [parts])[0]

    def _encode(self, text: str) -> Mapping[str, Any]:
        encoded: Mapping[str, Any] = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return encoded

    def _render(self, messages: list[dict[str, str]]) -> str:
        text: str = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return text


class TokenTexts:
    """Maps a list of ids to the text of each token; the texts concatenate to the decoded stream.

    A character that is split over several tokens belongs to the last of them. Texts are cached by id. If they do not
    concatenate to the decoded stream, because the decoder depends on context, the ids are decoded incrementally.
    ``anchor``: a token decoded before each id, since some decoders drop the space before the first word.
    """

    def __init__(self, tokenizer: Any, anchor: int):
        self.tokenizer, self.anchor = tokenizer, anchor
        self._anchor_text = self._decode([anchor])
        self._text_of: dict[int, str] = {}

    def __call__(self, ids: list[int]) -> list[str]:
        for token in set(ids) - self._text_of.keys():
            self._text_of[token] = self._decode_after_anchor([token])
        texts = [self._text_of[token] for token in ids]
        if any("\ufffd" in text for text in texts):
            texts = self._join_characters(ids, texts)
        return texts if "".join(texts) == self._decode(ids) else self._decode_incrementally(ids, self._decode)

    def _join_characters(self, ids: list[int], texts: list[str]) -> list[str]:
        """Decode each run of tokens that are incomplete characters as one text."""
        joined, start = [], 0
        for incomplete, run in groupby(texts, lambda text: "\ufffd" in text):
            end = start + len(list(run))
            joined += (
                self._decode_incrementally(ids[start:end], self._decode_after_anchor)
                if incomplete
                else texts[start:end]
            )
            start = end
        return joined

    def _decode_incrementally(self, ids: list[int], decode: Callable[[list[int]], str]) -> list[str]:
        texts, decoded = [], ""
        for end in range(1, len(ids) + 1):
            text = decode(ids[:end])
            complete = not text.endswith("\ufffd") or end == len(ids)
            texts.append(text[len(decoded) :] if complete else "")
            decoded = text if complete else decoded
        return texts

    def _decode_after_anchor(self, ids: list[int]) -> str:
        return self._decode([self.anchor, *ids])[len(self._anchor_text) :]

    def _decode(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text


def encode_parts(tokenizer: Any, blocks: Sequence[Sequence[tuple[str, int]]]) -> list[Segment]:
    """Encode blocks of text, each a sequence of parts (text, kind); every block is encoded separately.

    A token has the kind of the part in which it begins. Needs the offsets of a fast tokenizer. Equal blocks, such as the
    prompt of a group, are encoded once and share their segment.
    """
    keys = [tuple(parts) for parts in blocks]
    unique = list(dict.fromkeys(keys))
    if not unique:
        return []
    encoded = tokenizer(
        ["".join(text for text, _ in parts) for parts in unique],
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
    )
    segments = dict(zip(unique, _segments(unique, encoded["input_ids"], encoded["offset_mapping"])))
    return [segments[key] for key in keys]


def _segments(
    blocks: list[tuple[tuple[str, int], ...]], ids: list[list[int]], offsets: list[list[tuple[int, int]]]
) -> list[Segment]:
    """The segments of all blocks, computed at once on their concatenated texts."""
    parts = [part for block in blocks for part in block]
    part_ends = np.cumsum([len(text) for text, _ in parts], dtype=np.int64)
    last_part = np.cumsum([len(block) for block in blocks]) - 1
    block_ends = np.append(part_ends, 0)[last_part]
    bases, counts = np.append([0], block_ends[:-1]), np.array([len(block_ids) for block_ids in ids])
    stops = np.cumsum(counts)
    flat = chain.from_iterable(chain.from_iterable(offsets))
    starts, ends = (np.fromiter(flat, np.int64, 2 * stops[-1]).reshape(-1, 2) + np.repeat(bases, counts)[:, None]).T
    nonempty = counts > 0
    first, last = (stops - counts)[nonempty], stops[nonempty] - 1
    next_starts = np.append(starts, 0)[1:]
    next_starts[last] = block_ends[nonempty]
    # The offsets of tokens that share a character overlap; the character belongs to the last of them.
    cuts = np.maximum.accumulate(np.minimum(ends, np.maximum(next_starts, starts)))
    cuts[last] = block_ends[nonempty]
    begins = np.append([0], cuts)[:-1]
    begins[first] = bases[nonempty]
    part = np.minimum(np.searchsorted(part_ends[:-1], starts, side="right"), np.repeat(last_part, counts))
    text, kinds = "".join(text for text, _ in parts), [kind for _, kind in parts]
    texts = [text[a:b] for a, b in zip(begins.tolist(), cuts.tolist())]
    kinds = [kinds[i] for i in part.tolist()]
    return [
        Segment(block_ids, kinds[end - len(block_ids) : end], texts[end - len(block_ids) : end])
        for block_ids, end in zip(ids, stops.tolist())
    ]


def template_ids(tokenizer: Any) -> set[int]:
    """Ids of the special tokens used by chat templates, without the tags of replies such as ``<think>``."""
    ends = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id} - {None}
    return ends | {
        id
        for id, token in tokenizer.added_tokens_decoder.items()
        if token.special and not _REPLY_TAG.fullmatch(str(token))
    }


@dataclass(frozen=True)
class Spans:
    """The spans of a response as [start, end) character positions, in order and disjoint."""

    reasonings: tuple[tuple[int, int], ...] = ()
    actions: tuple[tuple[int, int], ...] = ()

    @property
    def reasoning(self) -> tuple[int, int] | None:
        """The first reasoning span, or None."""
        return self.reasonings[0] if self.reasonings else None

    @property
    def answer(self) -> tuple[int, int] | None:
        """The first action span, or None."""
        return self.actions[0] if self.actions else None


def find_spans(text: str, opens_thinking: bool = False) -> Spans:
    """Find ``<think>...</think>`` and the ``<answer>...</answer>`` directly after it.

    Only closed spans count, and the answer only if nothing but white space separates it from the reasoning. Takes linear
    time. ``spans`` contains the rules for other formats.
    """
    thought = find_thought(text, opens_thinking)
    if thought is None:
        return Spans()
    after_thought = thought[1] + len(THINK[1])
    begin = _position_after(text, ANSWER[0], after_thought)
    if begin is None or text[after_thought : begin - len(ANSWER[0])].strip():
        return Spans((thought,))
    end = text.find(ANSWER[1], begin)
    return Spans((thought,), ((begin, end),) if end >= 0 else ())


def find_thought(text: str, opens_thinking: bool = False) -> tuple[int, int] | None:
    """The first closed ``<think>...</think>`` span, or None; ``opens_thinking``: the text begins inside of it."""
    start = 0 if opens_thinking else _position_after(text, THINK[0], 0)
    if start is None or (end := text.find(THINK[1], start)) < 0:
        return None
    return start, end


def response_kinds(texts: list[str], spans: Spans) -> list[TokenKind]:
    """The kind of each sampled token: that of the span that contains it whole, else FORMAT (method.md section 1).

    Tokenizers merge borders with what follows: ``>A``, ``>-``, `` search``. A token across a border of a span belongs to the
    span if only white space of it is outside, if the span would otherwise have no token with text, or if an action would
    lose its sign.
    """
    stops = list(accumulate(map(len, texts)))
    begins = [0, *stops[:-1]]
    text = "".join(texts)
    kinds = [TokenKind.FORMAT] * len(texts)
    for kind_spans, kind in ((spans.reasonings, TokenKind.REASONING), (spans.actions, TokenKind.ACTION)):
        for start, end in kind_spans:
            # A token without text at the end of a span is outside.
            first, last = bisect_left(begins, start), min(bisect_right(stops, end), bisect_left(begins, end))
            kinds[first:last] = [kind] * (last - first)
            for i in _across(text, begins, stops, (start, end), (first, last), kind):
                if kinds[i] == TokenKind.FORMAT:
                    kinds[i] = kind
    return kinds


def _across(
    text: str, begins: list[int], stops: list[int], span: tuple[int, int], inside: tuple[int, int], kind: TokenKind
) -> Iterator[int]:
    """The tokens across a border of a span that belong to it; ``inside``: its first token and the one after its last."""
    (start, end), (first, last) = span, inside
    content = text[start:end].strip()
    if not content:
        return
    empty = last <= first or not text[begins[first] : stops[last - 1]].strip()
    before = first - 1
    if before >= 0 and stops[before] > start and (own := text[start : min(stops[before], end)].strip()):
        loses_sign = kind == TokenKind.ACTION and content[0] in _SIGNS and own[0] == content[0]
        if empty or loses_sign or not text[begins[before] : start].strip():
            yield before
            empty = False
    if empty and last < len(begins) and text[max(begins[last], start) : end].strip():
        yield last


def split_actions(answer: str) -> list[str]:
    """The actions of an answer, separated by ``||``; stripped, without empty ones."""
    return [part.strip() for part in answer.split(SEPARATOR) if part.strip()]


def _position_after(text: str, tag: str, start: int) -> int | None:
    """The position after the first ``tag`` at or after ``start``, or None."""
    position = text.find(tag, start)
    return None if position < 0 else position + len(tag)
