"""``Stream``: the texts of tokens as one text, and the way from its characters to tokens."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from actfocus_core.trajectory import TokenKind


class Stream:
    """The tokens of a trajectory, for finding blocks in them.

    ``texts``: T strings, the text each token adds. ``kinds``: uint8 [T], values of TokenKind. Raises ValueError if the
    lengths differ.
    """

    def __init__(self, texts: Sequence[str], kinds: np.ndarray):
        if len(texts) != len(kinds):
            raise ValueError(f"{len(texts)} texts for {len(kinds)} kinds; the lengths must be equal")
        self.texts, self.kinds = texts, np.asarray(kinds, np.uint8)
        self.text = "".join(texts)
        self.starts = list(accumulate(map(len, texts), initial=0))
        """Characters before each token; one more entry for the end"""
        self.sampled = self.kinds >= TokenKind.REASONING

    def __len__(self) -> int:
        return len(self.texts)

    def token(self, character: int) -> int:
        """The first token that begins at a character or after it: a token belongs to the block in which it begins."""
        return min(bisect_left(self.starts, character), len(self))

    def slice(self, start: int, end: int) -> str:
        """The text of tokens [start, end)."""
        return self.text[self.starts[start] : self.starts[end]]
