"""Product search: BM25 over the texts of the products (bm25s, Lucene's variant).

k1 and b are Pyserini's defaults, which WebShop uses. Lucene's stemmer is replaced by Harman's S-stemmer (plural endings
only), which has three rules and needs no further dependency.
"""

from __future__ import annotations

import re

import numpy as np

K1, B = 0.9, 0.4
MAX_RESULTS = 50
"""Maximum number of results of a search, as in WebShop."""

_WORD = re.compile(r"[^\W_]+")
_STOP_WORDS = """a an and are as at be but by for from i if in into is it me my no not of on or
such than that the their then there these they this to was will with"""
_STOP = frozenset(_STOP_WORDS.split())


def words(text: str) -> list[str]:
    """The search terms of a text: lower case, singular, without stop words."""
    return [_singular(word) for word in _WORD.findall(text.lower()) if word not in _STOP]


def _singular(word: str) -> str:
    """Harman's S-stemmer: berries -> berry, shoes -> shoe, shirts -> shirt, dress -> dress."""
    if len(word) < 4 or not word.endswith("s"):
        return word
    if word.endswith("ies") and word[-4] not in "ae":
        return word[:-3] + "y"
    return word if word.endswith(("us", "ss")) else word[:-1]


class Index:
    """A BM25 index of texts; a search returns indices of texts, best first."""

    def __init__(self, texts: list[str]):
        import bm25s  # Imported here because it takes half a second.

        corpus = [words(text) for text in texts]
        self._bm25 = None
        if any(corpus):
            self._bm25 = bm25s.BM25(method="lucene", k1=K1, b=B)
            self._bm25.index(corpus, show_progress=False)
        self._cache: dict[tuple[str, ...], tuple[int, ...]] = {}

    def search(self, query: str) -> tuple[int, ...]:
        """Indices of at most 50 texts with a positive score; ties in the order of the texts."""
        terms = tuple(sorted(words(query)))
        if terms not in self._cache:
            if len(self._cache) >= 4096:
                self._cache.clear()
            self._cache[terms] = self._search(list(terms))
        return self._cache[terms]

    def _search(self, terms: list[str]) -> tuple[int, ...]:
        if self._bm25 is None:
            return ()
        known_terms = self._bm25.get_tokens_ids(terms)
        if not known_terms:
            return ()
        scores = self._bm25.get_scores(known_terms)
        best = np.argsort(-scores, kind="stable")[:MAX_RESULTS]
        return tuple(int(i) for i in best if scores[i] > 0)
