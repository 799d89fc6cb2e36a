"""From messages to token ids and back to actions, token in and token out.

A dialogue grows by appending: the opening (system and first user message, up to where the
policy begins to write), then in turn what the policy sampled and the template around the
next user message. What was sampled is never rendered or encoded again. Which tokens are
reasoning, action or format is found on the character offsets of the sampled ids.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, groupby
from typing import Any

import numpy as np

from actfocus_core.errors import ActFocusError
from actfocus_core.trajectory import TokenKind

THINK, ANSWER = ("<think>", "</think>"), ("<answer>", "</answer>")
SEPARATOR = "||"
_REPLY_TAG = re.compile(r"</?(?:think|answer|action|tool_call|tool_response)>")
_SYSTEM, _USER, _NEXT, _THOUGHT = (f"actfocus-{word}-51c9" for word in ("system", "user", "next", "thought"))
_REPLY = f"<think>\n{_THOUGHT}\n</think>\n<answer>actfocus-51c9</answer>"
"""Stand-ins for messages: what the template writes around them is the template."""


@dataclass(frozen=True)
class Segment:
    """A piece of the stream that the policy did not write; three lists of one length."""

    ids: list[int]
    kinds: list[int]
    texts: list[str]


class ChatFormat:
    """A tokenizer's chat template, taken apart once into what surrounds each message.

    Raises ActFocusError where the tokenizer has no chat template or no offsets, or where a dialogue
    cannot be continued token by token: the template rewrites earlier turns, or the tokenizer
    encodes a piece of the dialogue otherwise than the whole.
    """

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.name = tokenizer.name_or_path
        if not getattr(tokenizer, "chat_template", None):
            raise ActFocusError(f"{self.name}: the tokenizer has no chat template; choose an instruct or chat model")
        if not tokenizer.is_fast:
            raise ActFocusError(f"{self.name}: the tokenizer gives no offsets; a fast one is needed")
        self._take_apart()
        self.texts = TokenTexts(tokenizer, self.end_id)

    def _take_apart(self) -> None:
        """Split the rendered template at the stand-ins, and check that it only appends."""
        messages, opening = self._first_messages()
        self.opens_thinking = opening.rstrip().endswith(THINK[0])
        """The template itself writes ``<think>``: a response begins inside the span."""
        turn = [{"role": "assistant", "content": _REPLY}, {"role": "user", "content": _NEXT}]
        dialogue, longer = self._render([*messages, *turn]), self._render([*messages, *turn, *turn])
        before = self._without_opener(opening) + _REPLY
        if not dialogue.startswith(before):
            raise self._rewrites(opening, dialogue)
        closing = dialogue[len(before) :]
        if longer != before + self._without_opener(closing) + _REPLY + closing:
            raise self._rewrites(opening, longer)
        self._before_system, rest = opening.split(_SYSTEM)
        self._before_user, self._header = rest.split(_USER)
        following, header = closing.split(_NEXT)
        if header != self._header:
            raise ActFocusError(
                f"{self.name}: the chat template writes {header!r} before a later reply and "
                f"{self._header!r} before the first; use one that writes the same before all"
            )
        self._end, self._before_next = self._split_end(following)
        ids = self._encode(closing)["input_ids"]
        if self._encode(dialogue)["input_ids"][-len(ids) :] != ids:
            raise ActFocusError(
                f"{self.name}: the tokenizer encodes what follows a reply otherwise than in the "
                "whole dialogue, so a dialogue cannot be continued token by token"
            )

    def _first_messages(self) -> tuple[list[dict[str, str]], str]:
        """The first messages as the template takes them, and what it makes of them."""
        system, user = {"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}
        try:
            messages = [system, user]
            opening = self._render(messages)
        except Exception:
            opening = ""
        if _SYSTEM not in opening:
            # Without a system role (Gemma's raises, others leave it out) the task goes into the first message.
            try:
                messages = [{"role": "user", "content": f"{_SYSTEM}\n\n{_USER}"}]
                opening = self._render(messages)
            except Exception as error:
                raise ActFocusError(f"{self.name}: the chat template refused a user message ({error})") from None
        counts = [opening.count(word) for word in (_SYSTEM, _USER)]
        if counts != [1, 1] or opening.index(_SYSTEM) > opening.index(_USER):
            raise ActFocusError(
                f"{self.name}: the chat template does not write the system and the user message "
                "once each, in this order; use one that does"
            )
        return messages, opening

    def _without_opener(self, text: str) -> str:
        """A text that ends where a reply begins; in the history an opened ``<think>`` stands in the reply."""
        return text[: text.rindex(THINK[0])] if self.opens_thinking else text

    def _rewrites(self, opening: str, dialogue: str) -> ActFocusError:
        """What a template does to earlier turns, as an error."""
        if dialogue.count(_THOUGHT) < dialogue.count(_NEXT):
            what = "leaves out the reasoning of earlier turns once a later one follows, as Qwen3's and DeepSeek-R1's do"
        elif not dialogue.startswith(opening[: opening.index(_USER)]):
            what = "writes the system prompt differently once a later turn follows"
        else:
            what = "writes an earlier turn differently once a later one follows"
        return ActFocusError(
            f"{self.name}: the chat template {what}, so a dialogue cannot be continued token by "
            "token; put a template that only appends into the model folder (chat_template.jinja)"
        )

    def _split_end(self, closing: str) -> tuple[str, str]:
        """Split what follows a reply after its end-of-turn token, the first special token."""
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

    def opening(self, system: str, user: str) -> Segment:
        """The system prompt and the first observation, up to where the policy begins."""
        return self._segment(
            (self._before_system, TokenKind.TEMPLATE),
            (system, TokenKind.SYSTEM),
            (self._before_user, TokenKind.TEMPLATE),
            (user, TokenKind.USER),
            (self._header, TokenKind.TEMPLATE),
        )

    def following(self, user: str, closed: bool) -> Segment:
        """What stands between a reply and the next one: end of turn, observation, header.

        ``closed``: the policy ended its turn itself, so the end-of-turn token is there already.
        """
        whole = self._segment(
            (self._end, TokenKind.TEMPLATE),
            (self._before_next, TokenKind.TEMPLATE),
            (user, TokenKind.USER),
            (self._header, TokenKind.TEMPLATE),
        )
        # Encoded with the end of the turn in front: alone, some tokenizers would put a space before it.
        start = whole.ids.index(self.end_id) + 1 if closed else 0
        return Segment(whole.ids[start:], whole.kinds[start:], whole.texts[start:])

    def stop_ids(self) -> list[int]:
        """Tokens that end the policy's turn."""
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
    """What each token of a stream adds to the text; called with ids, gives as many strings.

    A character split over tokens goes to its last. Pieces are cached by id; where a decoder
    looks at more than one token they do not add up to the decoded whole, and the ids are decoded
    token by token instead. ``anchor``: a token to decode behind, so that a decoder that drops
    the space before the first word drops none.
    """

    def __init__(self, tokenizer: Any, anchor: int):
        self.tokenizer, self.anchor = tokenizer, anchor
        self._before = self._decode([anchor])
        self._piece: dict[int, str] = {}

    def __call__(self, ids: list[int]) -> list[str]:
        for token in set(ids) - self._piece.keys():
            self._piece[token] = self._behind([token])
        pieces = [self._piece[token] for token in ids]
        whole = self._decode(ids)
        if any("\ufffd" in piece for piece in pieces):
            pieces = self._characters_joined(ids, pieces)
        return pieces if "".join(pieces) == whole else self._in_context(ids, self._decode)

    def _characters_joined(self, ids: list[int], pieces: list[str]) -> list[str]:
        """Each run of tokens that are no whole character alone, decoded by itself."""
        texts, start = [], 0
        for broken, run in groupby(pieces, lambda piece: "\ufffd" in piece):
            end = start + len(list(run))
            texts += self._in_context(ids[start:end], self._behind) if broken else pieces[start:end]
            start = end
        return texts

    def _in_context(self, ids: list[int], decode: Callable[[list[int]], str]) -> list[str]:
        texts, seen = [], ""
        for end in range(1, len(ids) + 1):
            text = decode(ids[:end])
            complete = not text.endswith("\ufffd") or end == len(ids)
            texts.append(text[len(seen) :] if complete else "")
            seen = text if complete else seen
        return texts

    def _behind(self, ids: list[int]) -> str:
        return self._decode([self.anchor, *ids])[len(self._before) :]

    def _decode(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text


def encode_parts(tokenizer: Any, blocks: Sequence[Sequence[tuple[str, int]]]) -> list[Segment]:
    """Encode blocks of text, each given as parts of one kind; each block is encoded by itself.

    A token has the kind of the part it begins in. Needs a fast tokenizer, for its offsets. Equal
    blocks, such as the prompt of a group, are encoded once and share their segment.
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
    known = dict(zip(unique, _segments(unique, encoded["input_ids"], encoded["offset_mapping"])))
    return [known[key] for key in keys]


def _segments(
    blocks: list[tuple[tuple[str, int], ...]], ids: list[list[int]], offsets: list[list[tuple[int, int]]]
) -> list[Segment]:
    """The segments of all blocks, cut out of their texts joined."""
    parts = [part for block in blocks for part in block]
    part_ends = np.cumsum([len(text) for text, _ in parts], dtype=np.int64)
    last_part = np.cumsum([len(block) for block in blocks]) - 1
    block_ends = np.append(part_ends, 0)[last_part]
    bases, counts = np.append([0], block_ends[:-1]), np.array([len(own) for own in ids])
    stops = np.cumsum(counts)
    flat = chain.from_iterable(chain.from_iterable(offsets))
    starts, ends = (np.fromiter(flat, np.int64, 2 * stops[-1]).reshape(-1, 2) + np.repeat(bases, counts)[:, None]).T
    full = counts > 0
    first, last = (stops - counts)[full], stops[full] - 1
    following = np.append(starts, 0)[1:]
    following[last] = block_ends[full]
    # Tokens that share a character overlap: it goes to the last of them.
    cuts = np.maximum.accumulate(np.minimum(ends, np.maximum(following, starts)))
    cuts[last] = block_ends[full]
    begins = np.append([0], cuts)[:-1]
    begins[first] = bases[full]
    part = np.minimum(np.searchsorted(part_ends[:-1], starts, side="right"), np.repeat(last_part, counts))
    text, kinds = "".join(text for text, _ in parts), [kind for _, kind in parts]
    texts = [text[a:b] for a, b in zip(begins.tolist(), cuts.tolist())]
    kinds = [kinds[i] for i in part.tolist()]
    return [
        Segment(own, kinds[end - len(own) : end], texts[end - len(own) : end]) for own, end in zip(ids, stops.tolist())
    ]


def template_ids(tokenizer: Any) -> set[int]:
    """Special tokens that chat templates are made of: not tags of replies such as ``<think>``."""
    ends = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id} - {None}
    return ends | {
        id
        for id, token in tokenizer.added_tokens_decoder.items()
        if token.special and not _REPLY_TAG.fullmatch(str(token))
    }


@dataclass(frozen=True)
class Spans:
    """Where the spans of a response lie, as [start, end) characters, in order and apart."""

    reasonings: tuple[tuple[int, int], ...] = ()
    actions: tuple[tuple[int, int], ...] = ()

    @property
    def reasoning(self) -> tuple[int, int] | None:
        """The first reasoning span; None where there is none."""
        return self.reasonings[0] if self.reasonings else None

    @property
    def answer(self) -> tuple[int, int] | None:
        """The first action span; None where there is none."""
        return self.actions[0] if self.actions else None


def find_spans(text: str, opens_thinking: bool = False) -> Spans:
    """Find ``<think>...</think>`` and the ``<answer>...</answer>`` right after it.

    Reasoning counts once its span is closed. The answer counts only where nothing but white
    space stands between the two spans. Runs in time linear in the text. The rules for other
    tags are in ``spans``.
    """
    thought = find_thought(text, opens_thinking)
    if thought is None:
        return Spans()
    rest = thought[1] + len(THINK[1])
    begin = _after(text, ANSWER[0], rest)
    if begin is None or text[rest : begin - len(ANSWER[0])].strip():
        return Spans((thought,))
    finish = text.find(ANSWER[1], begin)
    return Spans((thought,), ((begin, finish),) if finish >= 0 else ())


def find_thought(text: str, opens_thinking: bool = False) -> tuple[int, int] | None:
    """The first ``<think>...</think>`` that is closed."""
    start = 0 if opens_thinking else _after(text, THINK[0], 0)
    if start is None or (end := text.find(THINK[1], start)) < 0:
        return None
    return start, end


def response_kinds(texts: list[str], spans: Spans) -> list[TokenKind]:
    """The kind of each sampled token: strictly inside a span, or FORMAT (method.md section 1)."""
    stops = list(accumulate(map(len, texts)))
    begins = [0, *stops[:-1]]
    kinds = [TokenKind.FORMAT] * len(texts)
    for spans_of, kind in ((spans.reasonings, TokenKind.REASONING), (spans.actions, TokenKind.ACTION)):
        for start, end in spans_of:
            # A token without text that stands at the end of a span is outside.
            first, last = bisect_left(begins, start), min(bisect_right(stops, end), bisect_left(begins, end))
            kinds[first:last] = [kind] * (last - first)
    return kinds


def split_actions(answer: str) -> list[str]:
    """The actions of an answer's text: separated by ``||``, stripped, empty ones left out."""
    return [part.strip() for part in answer.split(SEPARATOR) if part.strip()]


def _after(text: str, tag: str, start: int) -> int | None:
    """The position after the first ``tag`` from ``start`` on."""
    found = text.find(tag, start)
    return None if found < 0 else found + len(tag)
