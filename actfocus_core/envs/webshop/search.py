"""The shop's search: BM25 over the products' texts (bm25s, Lucene's variant).

k1 and b are Pyserini's defaults, which WebShop searches with. Lucene's stemmer is replaced
by Harman's S-stemmer (plural endings only): three rules, no further dependency.
"""

from __future__ import annotations

import re

import numpy as np

K1, B = 0.9, 0.4
FOUND_AT_MOST = 50
"""Results of one search, as in WebShop."""

_WORD = re.compile(r"[^\W_]+")
_STOP_WORDS = """a an and are as at be but by for from i if in into is it me my no not of on or
such than that the their then there these they this to was will with"""
_STOP = frozenset(_STOP_WORDS.split())


def words(text: str) -> list[str]:
    """The words of a text that count in a search: lower case, singular, no stop words."""
    return [_singular(word) for word in _WORD.findall(text.lower()) if word not in _STOP]


def _singular(word: str) -> str:
    """Harman's S-stemmer: berries -> berry, shoes -> shoe, shirts -> shirt, dress -> dress."""
    if len(word) < 4 or not word.endswith("s"):
        return word
    if word.endswith("ies") and word[-4] not in "ae":
        return word[:-3] + "y"
    return word if word.endswith(("us", "ss")) else word[:-1]


class Index:
    """A BM25 index of texts; searching gives their positions, best first."""

    def __init__(self, texts: list[str]):
        import bm25s  # takes half a second to import: only where something is searched

        corpus = [words(text) for text in texts]
        self._bm25 = None
        if any(corpus):
            self._bm25 = bm25s.BM25(method="lucene", k1=K1, b=B)
            self._bm25.index(corpus, show_progress=False)
        self._found: dict[tuple[str, ...], tuple[int, ...]] = {}

    def search(self, query: str) -> tuple[int, ...]:
        """At most 50 positions with a positive score; ties in the order of the texts."""
        asked = tuple(sorted(words(query)))
        if asked not in self._found:
            if len(self._found) >= 4096:
                self._found.clear()
            self._found[asked] = self._search(list(asked))
        return self._found[asked]

    def _search(self, asked: list[str]) -> tuple[int, ...]:
        if self._bm25 is None:
            return ()
        known = self._bm25.get_tokens_ids(asked)
        if not known:
            return ()
        scores = self._bm25.get_scores(known)
        best = np.argsort(-scores, kind="stable")[:FOUND_AT_MOST]
        return tuple(int(i) for i in best if scores[i] > 0)
