"""``Renderer``: samples become token streams, with a tokenizer and its chat template.

Exact token ids are kept unchanged. Messages are rendered by the tokenizer's chat template, each with its text as it is in
the file, and encoded; the result approximates the tokens that were sampled. Texts are encoded as they are.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from actfocus_core.dialogue import THINK, Segment, TokenTexts, encode_parts
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.borders import Borders
from actfocus_core.interop.environment_text import EnvironmentRule
from actfocus_core.interop.messages import Message
from actfocus_core.interop.samples import SAMPLED, Part, Sample, Text, Tokens, is_reply
from actfocus_core.interop.scored import LOGPROB, UNREAD_SCORES, Exact, Vocabulary
from actfocus_core.runs.provenance import Source
from actfocus_core.template import Template
from actfocus_core.trajectory import TokenKind

_KIND = {"system": TokenKind.SYSTEM, "user": TokenKind.USER, "tool": TokenKind.USER}
_EMPTY_REASONING = re.compile(r"<think>\s*</think>\s*\Z")
_OPEN_REASONING = re.compile(r"<think>\s*\Z")
UNSEEN = (
    "turn borders cannot be seen: the role headers of the chat template are special tokens, which the text does not have, so "
    "a completion counts as one reply"
)


@dataclass(frozen=True)
class Stream:
    """The tokens of a sample, with all kinds but those of its replies."""

    tokens: Tokens
    """``kinds`` is set; SAMPLED for the replies"""
    texts: list[str]
    """The text of each token"""
    mask_by: Source
    """How it is known which tokens were sampled"""
    loss_weight: np.ndarray | None = None
    """float32 [T], NaN where not sampled; None if every weight is 1"""
    environment: Counter[str] = field(default_factory=Counter)
    """Name of a kind of environment text -> how often it was taken out of the replies"""
    unread: tuple[str, ...] = ()
    """Scores that belong to no known token, in the plural"""


@dataclass(frozen=True)
class _Layout:
    """The text of a sample in blocks that are encoded separately, as in sampling: the context, and each reply."""

    blocks: list[list[Part]]
    """A part whose tokens are known is a block of its own"""
    weights: list[float]
    """of the blocks in the trainer's loss"""
    mask_by: Source
    environment: Counter[str]
    unread: tuple[str, ...]


class Renderer:
    """Renders samples with one tokenizer.

    ``environment``: what counts as written by the environment inside a reply. Raises ActFocusError if the tokenizer does not
    provide character offsets.
    """

    def __init__(self, tokenizer: Any, environment: EnvironmentRule):
        if not tokenizer.is_fast:
            raise ActFocusError(
                f"{tokenizer.name_or_path}: the tokenizer provides no character offsets; use a fast tokenizer"
            )
        self.tokenizer, self.environment = tokenizer, environment
        self.template, self.borders = Template(tokenizer), Borders(tokenizer)
        self.vocabulary = Vocabulary(tokenizer)
        self.texts = TokenTexts(tokenizer, min(self.template.special, default=0))

    def streams(self, samples: Sequence[Sample]) -> list[Stream]:
        """One stream per sample, in order; all texts are encoded in one call."""
        layouts = [None if isinstance(sample.content, Tokens) else self._layout(sample) for sample in samples]
        encoded = iter(
            encode_parts(
                self.tokenizer,
                [
                    [(p.text, p.kind) for p in block]
                    for layout in layouts
                    if layout
                    for block in layout.blocks
                    if block[0].exact is None
                ],
            )
        )
        return [
            self._exact(sample)
            if layout is None
            else _joined(layout, [self._known(b[0]) if b[0].exact else next(encoded) for b in layout.blocks])
            for sample, layout in zip(samples, layouts)
        ]

    def _known(self, part: Part) -> Segment:
        """The segment of a part whose tokens are known."""
        assert part.exact is not None  # asked by the caller
        ids = list(part.exact.ids)
        return Segment(ids, [part.kind] * len(ids), self.texts(ids))

    # --- text ----------------------------------------------------------------------------

    def _layout(self, sample: Sample) -> _Layout:
        content, mask_by = sample.content, sample.mask_by
        environment: Counter[str] = Counter()
        blocks: list[list[Part]] = []
        weights: list[float] = []
        unread: list[str] = []
        if isinstance(content, Text):
            pieces = [(part, 1.0) for part in self._dumped(content, unread)]
            mask_by = self._borders_source(content.completion)
        else:
            assert isinstance(content, list)  # exact ids are not laid out
            pieces = self._rendered(content, sample, unread)
        for piece, weight in pieces:
            parts, found = self.environment.split([piece])
            environment += found
            if piece.exact is not None and len(parts) > 1:
                parts = self._with_tokens(parts, piece.exact, unread)
            for part in parts:
                if not part.text:
                    continue
                last = blocks[-1][-1] if blocks else None
                alone = part.exact is not None or (last is not None and last.exact is not None)
                if last is not None and not alone and (last.kind == SAMPLED) == (part.kind == SAMPLED):
                    blocks[-1].append(part)
                else:
                    blocks.append([part])
                    weights.append(weight)
        if environment:
            mask_by = Source(
                how="guessed", rule=f"{mask_by.rule or 'recorded'}; environment text, found by its tags, is not sampled"
            )
        return _Layout(blocks, weights, mask_by, environment, tuple(unread))

    def _dumped(self, content: Text, unread: list[str]) -> list[Part]:
        """A prompt and a completion, split at the role headers of the template."""
        completion = self.borders.completion(content.completion, content.prompt)
        if content.scored is not None:
            exact = self.vocabulary.exact(content.scored, (content.completion,))
            completion = self._with_tokens(completion, exact, unread)
        return [*self.borders.prompt(content.prompt), *completion]

    def _with_tokens(self, parts: list[Part], exact: Exact | None, unread: list[str]) -> list[Part]:
        """The consecutive parts of a text with their tokens; unchanged if these are not known or are in two parts."""
        pieces = exact.split([len(part.text.encode("utf-8", "replace")) for part in parts]) if exact else None
        if pieces is None:
            unread.append(UNREAD_SCORES)
            return [replace(part, exact=None) for part in parts]
        return [replace(part, exact=piece) for part, piece in zip(parts, pieces)]

    def _borders_source(self, completion: str) -> Source:
        how = self.borders.how(completion)
        if how:
            return Source(how="derived" if "without" not in how else "guessed", rule=how)
        if self.borders.visible_without_special_tokens:
            return Source(how="derived", rule="completions without a role header of the chat template are one reply")
        return Source(how="guessed", rule=UNSEEN)

    def _rendered(self, messages: list[Message], sample: Sample, unread: list[str]) -> list[tuple[Part, float]]:
        """The messages with the template's text around them, and the weight of each part in the trainer's loss; the token
        that ends a reply belongs to the policy."""
        if not messages:
            raise ActFocusError(f"{sample.where}: holds no message; a dialogue has one or more")
        between = self.template.between(tuple(m.role for m in messages))
        if isinstance(between, str):
            raise ActFocusError(f"{sample.where}: {between}")
        parts: list[tuple[Part, float]] = []
        after = [*between[1:-1], "" if sample.truncated else between[-1]]
        before = between[0]
        for message, following in zip(messages, after):
            if message.role != "assistant":
                parts += [(Part(before, TokenKind.TEMPLATE), 1.0), (Part(message.content, _kind(message)), 1.0)]
                before = following
                continue
            end, after_end = self.template.split_end(following)
            reply = self._reply(message, end, unread)
            opening = self._before_reply(before, replace(message, content=reply[0].text))
            parts.append((Part(opening, TokenKind.TEMPLATE), 1.0))
            parts += [(part, message.loss_weight) for part in reply]
            before = after_end
        if messages[-1].role != "assistant":
            parts.append((Part(between[-1], TokenKind.TEMPLATE), 1.0))
        return parts

    def _reply(self, message: Message, end: str, unread: list[str]) -> list[Part]:
        """A message of the assistant and the text that ends it, with its tokens if they are known."""
        kind, text = _kind(message), message.content
        if message.scored is None:
            return [Part(text, kind), Part(end, kind)]
        exact = self.vocabulary.exact(message.scored, (text, text + end))
        if exact is None:
            unread.append(UNREAD_SCORES)
            return [Part(text, kind), Part(end, kind)]
        ended = bool(end) and exact.text.endswith(end) and (bool(message.scored.pieces) or exact.text != text)
        return [Part(exact.text, kind, exact), *([] if ended else [Part(end, kind)])]

    def _before_reply(self, before: str, message: Message) -> str:
        """The template's text before a reply, with its ``<think>`` if the reply was sampled after one and not otherwise."""
        closing = message.content.find(THINK[1])
        if closing < 0:
            return before
        before = _EMPTY_REASONING.sub("", before)
        if THINK[0] in message.content[:closing]:
            return _OPEN_REASONING.sub("", before) if message.content.lstrip().startswith(THINK[0]) else before
        if is_reply(message) and not before.rstrip().endswith(THINK[0]):
            # The generation prompt wrote the opening tag.
            before += next((text for text in self.template.openings if text.rstrip().endswith(THINK[0])), "")
        return before

    # --- exact ids -----------------------------------------------------------------------

    def _exact(self, sample: Sample) -> Stream:
        tokens, limit = sample.content, len(self.tokenizer)
        assert isinstance(tokens, Tokens)  # the other contents are laid out
        if len(tokens.ids) and tokens.ids.max() >= limit:
            raise ActFocusError(
                f"{sample.where}: token id {tokens.ids.max()} is not in the vocabulary of "
                f"{self.tokenizer.name_or_path} ({limit} tokens); use the tokenizer of the "
                "model that was trained"
            )
        texts = self.texts(tokens.ids.tolist())
        kinds = tokens.kinds
        if kinds is None:
            kinds = np.full(len(texts), SAMPLED, np.uint8)
            for start, end, sampled in runs(tokens.sampled):
                if not sampled:
                    kinds[start:end] = self._context_kinds(texts[start:end])
        return Stream(replace(tokens, kinds=kinds), texts, sample.mask_by)

    def _context_kinds(self, texts: list[str]) -> list[int]:
        """Kinds of context tokens, found by the template's role headers in their text."""
        parts = self.borders.prompt("".join(texts))
        ends, end = [], 0
        for part in parts:
            ends.append(end := end + len(part.text))
        kinds: list[int] = []
        at = 0
        for text in texts:
            kinds.append(parts[min(bisect_right(ends, at), len(parts) - 1)].kind if parts else TokenKind.TEMPLATE)
            at += len(text)
        return kinds


def _joined(layout: _Layout, segments: list[Segment]) -> Stream:
    """The stream of encoded blocks."""
    ids = np.array([i for s in segments for i in s.ids], np.int32)
    kinds = np.frombuffer(bytes(k for s in segments for k in s.kinds), np.uint8)
    weights = None
    if any(weight != 1 for weight in layout.weights):
        by_token = np.repeat(np.array(layout.weights, np.float32), [len(s.ids) for s in segments])
        weights = np.where(kinds == SAMPLED, by_token, np.float32(np.nan))
    texts = [text for s in segments for text in s.texts]
    scores = _scores(layout, segments, kinds == SAMPLED)
    logprobs = scores.pop(LOGPROB, np.full(len(ids), np.nan, np.float32))
    tokens = Tokens(ids, kinds == SAMPLED, logprobs, scores, kinds)
    return Stream(tokens, texts, layout.mask_by, weights, layout.environment, layout.unread)


def _scores(layout: _Layout, segments: list[Segment], sampled: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> float32 [T], the scores of the blocks whose tokens are known; NaN elsewhere and where not sampled."""
    scores: dict[str, np.ndarray] = {}
    at = 0
    for block, segment in zip(layout.blocks, segments):
        end = at + len(segment.ids)
        for name, values in (block[0].exact.scores if block[0].exact else {}).items():
            column = scores.setdefault(name, np.full(len(sampled), np.nan, np.float32))
            column[at:end] = np.where(sampled[at:end], values, np.float32(np.nan))
        at = end
    return scores


def _kind(message: Message) -> int:
    """The kind of a message's text; an assistant's message that was not sampled counts as template."""
    if message.role == "assistant":
        return SAMPLED if message.sampled else TokenKind.TEMPLATE
    return _KIND[message.role]


def runs(flags: np.ndarray) -> Iterator[tuple[int, int, bool]]:
    """Maximal runs of equal flags as (start, end, flag)."""
    edges = [0, *(np.flatnonzero(np.diff(flags)) + 1).tolist(), len(flags)]
    return ((a, b, bool(flags[a])) for a, b in zip(edges, edges[1:]) if b > a)
