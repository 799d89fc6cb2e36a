"""``Borders``: where the chat template lets each reply of a stream begin and end."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

from actfocus_core.template import Template
from actfocus_core.trajectory import Trajectory

SPECIAL_TEXT = re.compile(r"<\|[^<>|]{1,40}\|>|</?s>|<(?:bos|eos|pad|start_of_turn|end_of_turn)>")
"""Special tokens as most tokenizers spell them, for streams whose tokenizer is not given"""
ROLE_LINE = re.compile(r"(?:^|\n)(?:system|user|tool|assistant)\n")
_HEADER = re.compile(
    r"<\|im_start\|>assistant\n|<start_of_turn>model\n|<\|assistant\|>\n?"
    r"|<\|start_header_id\|>assistant<\|end_header_id\|>\n\n"
)
_ANY_HEADER = re.compile(
    r"<\|im_start\|>|<start_of_turn>|<\|start_header_id\|>|<\|(?:user|assistant|system|observation)\|>"
)
_ENDS = frozenset(
    ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|return|>", "<|endoftext|>", "</s>")
)


class Border(NamedTuple):
    """The tokens of one reply according to the template."""

    starts: tuple[int, ...]
    """the token after the role header, and that after what a generation prompt may write there, such as ``<think>``"""
    end: int | None
    """the token that ends the turn; None if there is none before the next header"""


class Borders:
    """Finds the role headers of replies, by the tokenizer's own template or, without a tokenizer, by those of the most
    common templates."""

    def __init__(self, tokenizer: Any = None):
        self.special: set[int] = set()
        self._header, self._any_header, self._ends = _HEADER, _ANY_HEADER, _ENDS
        self._openings: tuple[str, ...] = ("<think>\n", "<think>")
        if tokenizer is None:
            return
        template = Template(tokenizer)
        self.special = template.special
        self._ends = _ENDS | {text for text in (template.end, tokenizer.eos_token) if text}
        header = next((header.text for header in template.headers if header.role == "assistant"), "")
        if header:
            self._header = re.compile(re.escape(header))
            self._any_header = re.compile("|".join(re.escape(header.text) for header in template.headers))
            self._openings = tuple(opening for opening in template.openings if opening)

    def is_template(self, t: Trajectory, token: int) -> bool:
        """Whether a token is a special token of the chat template."""
        if self.special:
            return int(t.token_ids[token]) in self.special
        return bool(SPECIAL_TEXT.fullmatch(t.texts[token]))

    def of(self, t: Trajectory) -> Iterator[Border]:
        """The replies of a stream in order; one whose header ends inside a token is left out."""
        starts = [0, *accumulate(map(len, t.texts))]
        text = "".join(t.texts)
        for header in self._header.finditer(text):
            written = ("", *(opening for opening in self._openings if text.startswith(opening, header.end())))
            found = (_token_at(starts, header.end() + len(opening)) for opening in written)
            first = tuple(token for token in found if token is not None)
            if not first:
                continue
            following = self._any_header.search(text, header.end())
            limit = bisect_left(starts, following.start(), hi=len(t)) if following else len(t)
            ends = (token for token in range(first[0], limit) if t.texts[token] in self._ends)
            yield Border(first, next(ends, None))


def _token_at(starts: list[int], position: int) -> int | None:
    """The token that begins at a position of the text; None if a token crosses it, or the text ends there."""
    token = bisect_left(starts, position, hi=len(starts) - 1)
    return token if token < len(starts) - 1 and starts[token] == position else None
