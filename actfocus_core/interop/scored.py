"""Tokens that a file gives as texts with scores, such as the log-probs of a server's reply.

Texts of tokens determine ids only if each is the text of exactly one token. ``Vocabulary`` finds them, and nothing is
read of a reply of which a token is unknown, or whose tokens do not add up to its text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

LOGPROB = "logprob"
UNREAD_SCORES = "scores per token of text whose tokens are not known exactly"
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True)
class Scored:
    """The tokens of a text, each as its bytes or as its id, and their scores."""

    tokens: tuple[bytes | int, ...]
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Name of a signal, or LOGPROB -> float32 [n], NaN where not scored"""
    pieces: tuple[str, ...] = ()
    """Reasoning, text and names of calls that the server parsed out of the tokens, whose text is then that of the
    reply; empty if the tokens add up to the message as it is"""


@dataclass(frozen=True)
class Exact:
    """The ids of a text, and their scores."""

    ids: tuple[int, ...]
    sizes: tuple[int, ...]
    """Number of bytes of each token"""
    scores: Mapping[str, np.ndarray]
    """As in ``Scored``"""
    text: str
    """What the tokens add up to"""

    def split(self, sizes: Sequence[int]) -> list[Exact] | None:
        """The tokens of consecutive pieces with these numbers of bytes; None if a token is in two of them."""
        ends = dict(zip(accumulate(self.sizes, initial=0), range(len(self.ids) + 1)))
        borders = [ends.get(end) for end in accumulate(sizes, initial=0)]
        pieces = []
        content, start = self.text.encode("utf-8", "replace"), 0
        for first, last, size in zip(borders, borders[1:], sizes):
            if first is None or last is None:
                return None
            scores = {name: values[first:last] for name, values in self.scores.items()}
            text = content[start : start + size].decode("utf-8", "replace")
            pieces.append(Exact(self.ids[first:last], self.sizes[first:last], scores, text))
            start += size
        return pieces


class Vocabulary:
    """The bytes of the tokens of a tokenizer.

    SentencePiece has a token for each byte, with which it writes characters that have no token of their own; where
    another token has these bytes, it is that one.
    """

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer

    def exact(self, scored: Scored, texts: Sequence[str]) -> Exact | None:
        """The tokens of ``scored`` if they are known, and add up to one of these texts, or contain its pieces if it
        has any.
        """
        ids = [self._id(token) for token in scored.tokens]
        known = [token for token in ids if token is not None and token in self._bytes]
        if len(known) < len(ids):
            return None
        parts = [self._bytes[token] for token in known]
        try:
            text = b"".join(parts).decode("utf-8")
        except UnicodeDecodeError:
            return None
        fits = all(piece in text for piece in scored.pieces) if scored.pieces else text in texts
        return Exact(tuple(known), tuple(map(len, parts)), scored.scores, text) if fits else None

    def _id(self, token: bytes | int) -> int | None:
        """The id of a token; None if no token has these bytes, or several have."""
        if isinstance(token, int):
            return token
        ids = self._ids.get(token, ())
        return ids[0] if len(ids) == 1 else None

    @cached_property
    def _ids(self) -> dict[bytes, list[int]]:
        ids: dict[bytes, list[int]] = {}
        single = (
            set() if self._is_byte_level else {i for t, i in self._tokenizer.get_vocab().items() if _BYTE.fullmatch(t)}
        )
        for token, content in self._bytes.items():
            ids.setdefault(content, []).append(token)
        return {content: [i for i in found if i not in single] or found for content, found in ids.items()}

    @cached_property
    def _bytes(self) -> dict[int, bytes]:
        """Token id -> its bytes."""
        decode = _byte_level if self._is_byte_level else _with_spaces
        vocabulary = {id: decode(token) for token, id in self._tokenizer.get_vocab().items()}
        added = {id: str(token) for id, token in self._tokenizer.added_tokens_decoder.items()}
        literal = (lambda token: token.encode("utf-8")) if self._is_byte_level else _with_spaces
        return vocabulary | {id: literal(token) for id, token in added.items()}

    @cached_property
    def _is_byte_level(self) -> bool:
        decoder = self._tokenizer.backend_tokenizer.decoder
        return decoder is not None and b"ByteLevel" in decoder.__getstate__()


def _byte_level(token: str) -> bytes:
    """The bytes of a token of a byte-level BPE, which writes each byte as a printable character."""
    try:
        return bytes(_BYTE_OF[character] for character in token)
    except KeyError:
        return token.encode("utf-8")


def _with_spaces(token: str) -> bytes:
    """The bytes of a token of SentencePiece, which writes a space as U+2581 and a byte as <0x0A>."""
    byte = _BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace("\u2581", " ").encode("utf-8")


def _printable() -> dict[str, int]:
    """Character -> byte, as in GPT-2's tokenizer: printable bytes are themselves, the others follow from U+0100 on."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(own)]
    return {chr(byte): byte for byte in own} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _printable()
