"""What is asked of the list, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from actfocus_core.errors import ActFocusError
from actfocus_core.listing.columns import Column

TEXT_KINDS = ("reasoning", "action", "observation")
"""Kinds of tokens in which is searched: what the policy thinks and does, and what it reads."""


class NotReady(ActFocusError):
    """A query needs something that is computed first; ``needs`` has what: ``values`` (``Listing.compute``), ``text``
    (``Listing.index_text``)."""

    def __init__(self, needs: frozenset[str]):
        super().__init__(
            "not computed yet: "
            + " and ".join(
                {"values": "the computed columns", "text": "the index of the texts"}[n] for n in sorted(needs)
            )
        )
        self.needs = needs


class Cancelled(ActFocusError):
    """A computation was cancelled. What it had finished is kept."""

    def __init__(self) -> None:
        super().__init__("cancelled")


@dataclass(frozen=True)
class Search:
    """A search in the texts of all rollouts. Raises ActFocusError for empty text, an invalid expression or an unknown kind."""

    text: str
    regex: bool = False
    """``text`` is a regular expression in the syntax of RE2"""
    ignore_case: bool = False
    kind: str | None = None
    """one of TEXT_KINDS: only in tokens of this kind, within one unbroken piece of it; None: in the whole text, across kinds"""

    def __post_init__(self) -> None:
        if not self.text:
            raise ActFocusError("search: the text is empty; give a word or a regular expression")
        check_text(self.text, "search")
        if self.kind is not None and self.kind not in TEXT_KINDS:
            raise ActFocusError(f"search: unknown kind {self.kind!r}; available: {', '.join(TEXT_KINDS)}")
        if self.regex:
            check_pattern(self.text, "search")


@dataclass(frozen=True)
class Query:
    """Which rollouts, in which order. Its defaults are all of them, in the order of the run."""

    where: str = ""
    """an expression of ``where.py``, such as ``success == false and malformed``; empty: all"""
    search: Search | None = None
    """only rollouts with a hit"""
    sort: str = ""
    """the name of a column; empty: the order of the run. Unknown values are last in both directions, and equal ones keep the
    order of the run"""
    descending: bool = False


ALL = Query()
"""All rollouts, in the order of the run."""


@dataclass(frozen=True)
class Page:
    """Some rows of an answer."""

    total: int
    """rows of the answer"""
    of: int
    """rows of the run"""
    offset: int
    ids: list[str]
    """of the rows of this page, in order"""
    columns: list[Column]
    rows: pa.Table
    """a column for each of ``columns``, by name; null: unknown, or computed and not yet there"""
    ready: bool
    """whether the computed columns have been computed for the whole run"""


def check_text(text: str, where: str) -> None:
    """Raise ActFocusError for a text that has no UTF-8, such as an argument that was not UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ActFocusError(f"{where}: {text[:60]!r} is no text, since it has half a surrogate pair") from None


def check_pattern(pattern: str, where: str) -> None:
    """Raise ActFocusError if a text is not a regular expression of RE2, or one that also matches nothing at all."""
    try:
        empty = pc.match_substring_regex(pa.array([""]), pattern)[0].as_py()
    except pa.ArrowException as error:
        reason = str(error).partition(": ")[2] or str(error)
        raise ActFocusError(f"{where}: {pattern!r} is not a regular expression of RE2 ({reason})") from None
    if empty:
        raise ActFocusError(
            f"{where}: {pattern!r} matches the empty text, so it is found everywhere; make it match something"
        )
