"""Converts samples to trajectories with a chat template, a tokenizer and a span rule.

Exact token ids are kept unchanged. Messages are rendered by the tokenizer's chat template, each with its text as it is in
the file, and encoded; the result approximates the tokens that were sampled.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import compress
from typing import Any

import numpy as np

from actfocus_core.dialogue import THINK, TokenTexts, encode_parts, response_kinds, template_ids
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.samples import SAMPLED, Message, Part, Sample, Tokens, on_sampled
from actfocus_core.spans import SpanRule
from actfocus_core.trajectory import TokenKind, Trajectory, Turn

_KIND = {"system": TokenKind.SYSTEM, "user": TokenKind.USER, "tool": TokenKind.USER}
_EMPTY_REASONING = re.compile(r"<think>\s*</think>\s*\Z")
_OPEN_REASONING = re.compile(r"<think>\s*\Z")


class ChatRenderer:
    """Renders samples with one tokenizer and one span rule.

    ``model``: name of the sampling model where a sample has none. ``success_at``: the smallest reward that counts as
    success where a sample does not state it. Raises ActFocusError if the tokenizer does not provide character offsets.
    """

    def __init__(self, tokenizer: Any, rule: SpanRule, model: str = "", success_at: float = 1.0):
        if not tokenizer.is_fast:
            raise ActFocusError(
                f"{tokenizer.name_or_path}: the tokenizer provides no character offsets; use a fast tokenizer"
            )
        self.tokenizer, self.rule, self.model, self.success_at = tokenizer, rule, model, success_at
        self.special = template_ids(tokenizer)
        self.texts = TokenTexts(tokenizer, min(self.special, default=0))
        # Both call the tokenizer, mostly with the same few arguments.
        self.between, self.split_end = lru_cache(4096)(self._between), lru_cache(4096)(self._split_end)
        self._rollouts: dict[str, int] = {}
        self._segments: dict[tuple[str, str], tuple[int, int]] = {}

    # --- rendering -----------------------------------------------------------------------

    def trajectories(self, samples: Sequence[Sample]) -> list[Trajectory]:
        """One trajectory per sample, in order; all texts are encoded in one call."""
        blocks = [self._blocks(sample) for sample in samples]
        encoded = iter(
            encode_parts(
                self.tokenizer,
                [[(p.text, p.kind) for p in block] for sample_blocks in blocks for block in sample_blocks],
            )
        )
        streams = []
        for sample, sample_blocks in zip(samples, blocks):
            if isinstance(sample.content, Tokens):
                streams.append(self._exact(sample.content, sample.where))
                continue
            segments = [next(encoded) for _ in sample_blocks]
            ids = [i for s in segments for i in s.ids]
            blank = np.full(len(ids), np.nan, np.float32)
            kinds = np.frombuffer(bytes(k for s in segments for k in s.kinds), np.uint8)
            streams.append(
                (
                    Tokens(np.array(ids, np.int32), kinds == SAMPLED, blank, {}, kinds),
                    [t for s in segments for t in s.texts],
                )
            )
        return [self._trajectory(sample, *stream) for sample, stream in zip(samples, streams)]

    def _blocks(self, sample: Sample) -> list[list[Part]]:
        """Parts grouped in blocks that are encoded separately, as in sampling: the context, and each reply."""
        if isinstance(sample.content, Tokens):
            return []
        messages = [piece for piece in sample.content if isinstance(piece, Message)]
        parts = [piece for piece in sample.content if isinstance(piece, Part)]
        if messages:
            parts = self._rendered(messages, sample)
        blocks: list[list[Part]] = []
        for part in parts:
            if not part.text:
                continue
            if blocks and (blocks[-1][-1].kind == SAMPLED) == (part.kind == SAMPLED):
                blocks[-1].append(part)
            else:
                blocks.append([part])
        return blocks

    def _rendered(self, messages: list[Message], sample: Sample) -> list[Part]:
        """The messages with the template's text around them; the token that ends a reply belongs to the policy."""
        between = self.between(tuple(m.role for m in messages))
        if isinstance(between, str):
            raise ActFocusError(f"{sample.where}: {between}")
        parts = []
        for number, (before, message) in enumerate(zip(between, messages)):
            if message.role == "assistant" and THINK[1] in message.content:
                before = _EMPTY_REASONING.sub("", before)
                if message.content.lstrip().startswith(THINK[0]):
                    before = _OPEN_REASONING.sub("", before)
            if number and messages[number - 1].role == "assistant":
                end, before = self.split_end(before)
                parts.append(Part(end, _kind(messages[number - 1])))
            parts += [Part(before, TokenKind.TEMPLATE), Part(message.content, _kind(message))]
        if messages[-1].role != "assistant":
            parts.append(Part(between[-1], TokenKind.TEMPLATE))
        elif not sample.truncated:
            parts.append(Part(self.split_end(between[-1])[0], _kind(messages[-1])))
        return parts

    def _between(self, roles: tuple[str, ...]) -> list[str] | str:
        """The template's text before, between and after messages of these roles, or a message saying why there is none.

        Placeholders stand for the messages, so a template that changes a message's text has no effect. If the template
        supports no tool or system role, those messages are rendered as the user's.
        """
        if not self.tokenizer.chat_template:
            return (
                f"holds messages, but the tokenizer {self.tokenizer.name_or_path} has no chat template; "
                "use the tokenizer of an instruct or chat model"
            )
        placeholders = [f"actfocus-{number}-51c9" for number in range(len(roles))]
        without_tools = ["user" if role == "tool" else role for role in roles]
        reason = ""
        for attempt, joined in ((list(roles), False), (without_tools, False), (without_tools, True)):
            messages = [{"role": role, "content": text} for role, text in zip(attempt, placeholders)]
            if joined and attempt[0] == "system" and len(attempt) > 1 and attempt[1] == "user":
                messages[:2] = [{"role": "user", "content": f"{placeholders[0]}\n\n{placeholders[1]}"}]
            try:
                rendered = self.tokenizer.apply_chat_template(messages, tokenize=False)
            except Exception as error:  # a template can raise anything
                reason = reason or str(error).split("\n")[0]
                continue
            pieces = re.split("|".join(map(re.escape, placeholders)), rendered)
            if re.findall("|".join(map(re.escape, placeholders)), rendered) == placeholders:
                return pieces
        return (
            f"the chat template of {self.tokenizer.name_or_path} does not support messages of the roles "
            f"{', '.join(roles[:6])} ({reason or 'it omits some'}); use the model's own tokenizer"
        )

    def _split_end(self, closing: str) -> tuple[str, str]:
        """The template's text after a reply, split after the token that ended the reply."""
        encoded = self.tokenizer(closing, add_special_tokens=False, return_offsets_mapping=True)
        for token, (_, end) in zip(encoded["input_ids"], encoded["offset_mapping"]):
            if token in self.special:
                return closing[:end], closing[end:]
        return "", closing

    # --- exact ids -----------------------------------------------------------------------

    def _exact(self, tokens: Tokens, where: str) -> tuple[Tokens, list[str]]:
        limit = len(self.tokenizer)
        if len(tokens.ids) and tokens.ids.max() >= limit:
            raise ActFocusError(
                f"{where}: token id {tokens.ids.max()} is not in the vocabulary of "
                f"{self.tokenizer.name_or_path} ({limit} tokens); use the tokenizer of the "
                "model that was trained"
            )
        texts = self.texts(tokens.ids.tolist())
        if tokens.kinds is not None:
            return tokens, texts
        kinds = np.full(len(texts), SAMPLED, np.uint8)
        for start, end, sampled in _runs(tokens.sampled):
            if not sampled:
                kinds[start:end] = self._context_kinds(texts[start:end])
        return Tokens(tokens.ids, tokens.sampled, tokens.logprobs, tokens.signals, kinds), texts

    def _context_kinds(self, texts: list[str]) -> list[int]:
        """Kinds of context tokens, found by the template's role headers in their text."""
        text = "".join(texts)
        headers = self._headers()
        if not headers or not any(header in text for header, _ in headers):
            return [TokenKind.USER] * len(texts)
        starts = sorted(
            (text.find(header, at), header, kind) for header, kind in headers for at in _occurrences(text, header)
        )
        ends = [start for start, _, _ in starts[1:]] + [len(text)]
        messages = []
        for (start, header, kind), end in zip(starts, ends):
            begin = start + len(header)
            stop = text.find(self._end, begin, end) if self._end else -1
            messages.append((begin, stop if stop >= 0 else end, kind))
        kinds: list[int] = []
        at = current = 0
        for piece in texts:
            while current < len(messages) - 1 and at >= messages[current][1]:
                current += 1
            begin, end, kind = messages[current]
            kinds.append(kind if begin <= at < end else TokenKind.TEMPLATE)
            at += len(piece)
        return kinds

    def _headers(self) -> list[tuple[str, TokenKind]]:
        """The template's header of each role with the kind of its messages; also sets the text that ends a turn."""
        if not hasattr(self, "_known_headers"):
            pieces = self.between(("system", "user", "assistant", "user"))
            self._known_headers, self._end = [], ""
            if isinstance(pieces, list):
                self._end = self.split_end(pieces[3])[0]
                kinds = (TokenKind.SYSTEM, TokenKind.USER, TokenKind.TEMPLATE)
                headers = [pieces[0], *(self.split_end(piece)[1] for piece in pieces[1:3])]
                self._known_headers = [
                    (header.lstrip(), kind) for header, kind in zip(headers, kinds) if header.strip()
                ]
        return self._known_headers

    # --- the trajectory ------------------------------------------------------------------

    def _trajectory(self, sample: Sample, tokens: Tokens, texts: list[str]) -> Trajectory:
        assert tokens.kinds is not None  # set by `_exact` or `trajectories`
        kinds, turns = tokens.kinds.copy(), np.zeros(len(texts), np.int16)
        records: list[Turn] = []
        start = 0
        for begin, end, sampled in _runs(tokens.sampled):
            if not sampled:
                start = begin
                continue
            observation = "".join(compress(texts[start:begin], (kinds[start:begin] == TokenKind.USER).tolist()))
            kinds[begin:end], record = self._reply(
                texts, begin, end, tokens.ids, observation, "".join(texts[start:begin][-64:]), sample
            )
            turns[start:end] = min(len(records), np.iinfo(np.int16).max)
            records.append(record)
            start = end
        # Context after the last reply was never answered; it belongs to the last turn.
        turns[start:] = max(len(records) - 1, 0)
        first = np.flatnonzero(kinds == TokenKind.USER)
        turns[: first[0] if len(first) and not tokens.sampled[: first[0]].any() else 0] = -1
        if records and np.isfinite(sample.reward):
            records[-1].reward = sample.reward
        signals = dict(tokens.signals)
        if sample.advantage is not None:
            signals["advantage"] = on_sampled(sample.advantage, tokens.sampled)
        group = f"{sample.step:05d}-{_id_part(sample.group)}"
        rollout, segment = self._numbers(group, sample.rollout)
        id = f"{group}-{rollout:02d}"
        success = sample.success
        if success is None and np.isfinite(sample.reward):
            success = bool(sample.reward >= self.success_at)
        return Trajectory(
            id=f"{id}.{segment}" if segment else id,
            token_ids=tokens.ids,
            kinds=kinds,
            turns=turns,
            logprobs=np.where(tokens.sampled, tokens.logprobs, np.float32(np.nan)),
            texts=texts,
            turn_records=records,
            signals=signals,
            group=group,
            env=sample.env,
            rollout=rollout,
            step=sample.step,
            model=sample.model or self.model,
            reward=sample.reward,
            success=success,
            terminated=sample.terminated,
            truncated=sample.truncated,
            columns=sample.columns,
            rollout_id=id if sample.rollout else "",
            segment=segment,
            rewards=sample.rewards,
            error=sample.error,
            stop_reason=sample.stop_reason,
        )

    def _numbers(self, group: str, name: str) -> tuple[int, int]:
        """The rollout's number in its group, and the number of this sample among the rollout's segments."""
        rollout, segment = self._segments.get((group, name), (None, 0))
        if rollout is None:
            rollout = self._rollouts[group] = self._rollouts.get(group, -1) + 1
        if name:
            self._segments[group, name] = rollout, segment + 1
        return rollout, segment

    def _reply(
        self, texts: list[str], begin: int, end: int, ids: np.ndarray, observation: str, before: str, sample: Sample
    ) -> tuple[list[TokenKind], Turn]:
        """The token kinds and the turn record of the reply at tokens ``begin`` to ``end``.

        ``before``: the end of the text before the reply.
        """
        reply, text = texts[begin:end], "".join(texts[begin:end])
        reasoning_open = before.rstrip().endswith(THINK[0])
        if not isinstance(sample.content, Tokens) and THINK[1] in text:
            # Messages often lack the opening tag, which the template wrote.
            reasoning_open = reasoning_open or THINK[0] not in text[: text.find(THINK[1])]
        spans = self.rule.find(text, reasoning_open)
        actions = self.rule.actions(text, spans)
        closed = int(ids[end - 1]) in self.special
        response = text[: len(text) - len(reply[-1])] if closed else text
        key = hashlib.sha1(observation.encode("utf-8", "replace")).hexdigest()[:16]
        return response_kinds(reply, spans), Turn(
            observation, response, actions, bool(actions), 0.0, 0.0, f"text-{key}", {}
        )


def _kind(message: Message) -> int:
    """The kind of a message's text; an assistant's message that was not sampled counts as template."""
    if message.role == "assistant":
        return SAMPLED if message.sampled else TokenKind.TEMPLATE
    return _KIND[message.role]


def _runs(flags: np.ndarray) -> Iterator[tuple[int, int, bool]]:
    """Maximal runs of equal flags as (start, end, flag)."""
    edges = [0, *(np.flatnonzero(np.diff(flags)) + 1).tolist(), len(flags)]
    return ((a, b, bool(flags[a])) for a, b in zip(edges, edges[1:]) if b > a)


def _occurrences(text: str, word: str) -> Iterator[int]:
    return (match.start() for match in re.finditer(re.escape(word), text))


def _id_part(key: str) -> str:
    """A key as part of an id, printable and short; a digest keeps keys distinct that had to be changed."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", key)[:48]
    return name if name == key and name else f"{name}-{hashlib.sha1(key.encode('utf-8', 'replace')).hexdigest()[:8]}"
