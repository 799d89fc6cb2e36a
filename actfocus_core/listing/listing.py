"""``Listing``: the rollouts of a run as a table that is filtered, sorted and searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actfocus_core.errors import ActFocusError
from actfocus_core.listing import tokens, where
from actfocus_core.listing.batches import TOKENS
from actfocus_core.listing.cache import Cache
from actfocus_core.listing.columns import COMPUTED, FOUND, Column, unknown_column
from actfocus_core.listing.evaluate import Evaluation
from actfocus_core.listing.facts import Facts, cached_facts, first_facts, read_facts
from actfocus_core.listing.measures import SCHEMA as COMPUTED_SCHEMA
from actfocus_core.listing.query import ALL, NotReady, Page, Query, Search
from actfocus_core.listing.setting import ACTFOCUS, UNIFORM, Setting
from actfocus_core.listing.texts import Hits, TextIndex
from actfocus_core.listing.tokens import Extreme
from actfocus_core.listing.values import Values
from actfocus_core.runs import Run, slug, stamp
from actfocus_core.runs.index import Stamp

_REMEMBERED = 32
"""Answers of queries and searches that are kept in memory."""
_COMPUTED = {column.name for column in COMPUTED}
_FOUND = {column.name for column in FOUND}
Made = TypeVar("Made")
OnProgress = Callable[[int, int], None]
"""on_progress(done, total), in rollouts"""
Cancelled = Callable[[], bool]
"""whether to stop; asked from the computing thread"""


class Listing:
    """One state of the files of a run, as a list of its rollouts (a row for each trajectory file's row).

        listing = Listing(run, Setting("actfocus"), Setting("uniform"))
        query = Query(where="success == false and malformed", sort="change", descending=True)
        if "values" in listing.needs(query):
            listing.compute(on_progress, cancelled)
        page = listing.page(query, offset=0, limit=100)

    Stored columns are there at once. The computed ones, and the texts for a search, are computed on request, once, and kept
    on disk (``cache``). All methods can be called from several threads: pages are answered while another thread computes.
    """

    def __init__(
        self,
        run: Run,
        a: Setting = ACTFOCUS,
        b: Setting = UNIFORM,
        reference: str | None = None,
        cache: Cache | None = None,
    ):
        """``a``, ``b``: the schemes of action shares and change, whose batches are training steps; ``reference``: the model
        whose signals are used, None: the alphabetically first of each step; ``cache``: None: that of the user.

        Raises ActFocusError for a file that cannot be read, or a reference that no step has.
        """
        self.run, self.a, self.b, self.reference = run, a, b, reference
        if reference is not None and slug(reference) not in run.references():
            known = ", ".join(run.references()) or "none"
            raise ActFocusError(
                f"{run.path}: has no signals of {reference!r}; it has {known}; `actfocus score` adds them"
            )
        self.cache = Cache.of(run.path) if cache is None else cache
        self.parts = run.parts()
        self.files = [(file, stamp(file)) for file in (part.facts(run.path) for part in self.parts)]
        self._marks = self._files_now()
        self._lock, self._reading, self._valuing = Lock(), Lock(), Lock()
        self._computing, self._indexing = Lock(), Lock()
        self._known: Values | None = None
        self._read: Facts | None = None
        self._remembered: dict[object, object] = {}
        self._texts: TextIndex | None = None

    def under(self, a: Setting, b: Setting, reference: str | None = None) -> Listing:
        """The list under other schemes or another reference; what was read of unchanged files is shared."""
        other = Listing(self.run, a, b, reference, self.cache)
        if other.files == self.files:
            other._read, other._texts = self._read, self._texts
        return other

    # --- what there is -------------------------------------------------------------------

    @property
    def current(self) -> bool:
        """Whether the files of trajectories and signals are still those of this list.

        If not, make another one; what did not change is not read or computed again.
        """
        return self._marks == self._files_now()

    def _files_now(self) -> list[tuple[Path, Stamp]]:
        files = sorted(
            file for folder in ("trajectories", "signals") for file in self.run.path.glob(f"{folder}/*.parquet")
        )
        return [(file, stamp(file)) for file in files]

    @property
    def total(self) -> int:
        """The number of rows."""
        return int(self._stored.num_rows)

    @property
    def columns(self) -> list[Column]:
        """All columns: the stored ones, components of the reward and columns of the imported file included, the computed
        ones, and those beside a search."""
        return [*self._facts.columns, *COMPUTED, *FOUND]

    @property
    def notes(self) -> list[str]:
        """What the list leaves out, or had to do in another way; for people."""
        notes = []
        if left_out := self._facts.left_out:
            notes.append(f"{left_out} further columns of the imported file or components of the reward are not listed")
        sizes = self._index.group_by("file_step").aggregate([("tokens", "sum")])["tokens_sum"]
        if divided := pc.sum(pc.greater(sizes, TOKENS)).as_py():
            notes.append(
                f"{divided} step{'s' if divided > 1 else ''} with more than {TOKENS:,} tokens: schemes get whole groups of at "
                "most as many tokens as a batch, not the step"
            )
        for name, setting in (("A", self.a), ("B", self.b)):
            if missing := self.missing[name]:
                notes.append(f"{name} ({setting}) is unknown in part: no {', '.join(missing)}")
        return notes

    @property
    def missing(self) -> dict[str, list[str]]:
        """A, B -> the inputs that the scheme needs and some step lacks (keys of ``credit.HOW_TO_GET``), as far as computed."""
        table = self._values.table()
        found = {}
        for name in "AB":
            texts = pc.unique(table[f"missing_{name.lower()}"].drop_null()).to_pylist()
            found[name] = sorted({part for text in texts for part in text.split(",") if part})
        return found

    @property
    def computed(self) -> bool:
        """Whether the computed columns are there for the whole run."""
        return self._values.complete

    # --- computing -----------------------------------------------------------------------

    def needs(self, query: Query, columns: Sequence[str] = ()) -> frozenset[str]:
        """What must be computed before the query is answered: of ``values`` (``compute``) and ``text`` (``index_text``).

        ``columns``: further columns that must be complete. A page shows computed columns that are not there as unknown, so it
        needs them only to filter or sort. Raises ActFocusError for an invalid query.
        """
        condition, needed = self._parsed(query), set()
        named = where.names(condition) | {query.sort, *columns}
        if named & _COMPUTED and not self._values.complete:
            needed.add("values")
        if (query.search or (named - self._by_name.keys()) & set(where.TEXTS)) and not self._text_index():
            needed.add("text")
        return frozenset(needed)

    def compute(self, on_progress: OnProgress | None = None, cancelled: Cancelled | None = None) -> None:
        """Compute the computed columns of all steps that are not in the cache.

        Raises ``Cancelled``, keeping the finished steps, and ActFocusError for a file that is damaged or was changed.
        """
        with self._computing:
            if not self._values.complete:
                try:
                    self._values.compute(on_progress, cancelled)
                finally:
                    with self._lock:
                        self._remembered.clear()

    def index_text(self, on_progress: OnProgress | None = None, cancelled: Cancelled | None = None) -> None:
        """Build the index of the texts, where it is not in the cache. Raises as ``compute``."""
        with self._indexing:
            if self._texts is None:
                self._texts = TextIndex.build(self.files, self._sizes, self.cache, on_progress, cancelled)

    # --- answers -------------------------------------------------------------------------

    def first(self, limit: int = 100) -> Page:
        """The first rows in the order of the run: ``page(limit=limit)``, but without reading the rest of a large run.

        Where the rest has not been read, components of the reward and columns of the imported file that the first rows' files
        do not have are missing, and computed columns are unknown.
        """
        with self._reading:
            if self._read is None:
                self._read = cached_facts(self.files, self.cache)
            if self._read is None:
                found = first_facts(self.files, limit)
                table, total = found.table.slice(0, limit), sum(found.sizes)
                for name, values in zip(COMPUTED_SCHEMA.names, COMPUTED_SCHEMA.empty_table()):
                    table = table.append_column(name, pa.nulls(table.num_rows, values.type))
                columns = [*found.columns, *COMPUTED]
                ids = table["id"].to_pylist()
                return Page(total, total, 0, ids, columns, table.select([c.name for c in columns]), False)
        return self.page(limit=limit)

    def page(self, query: Query = ALL, offset: int = 0, limit: int = 100, columns: Sequence[str] | None = None) -> Page:
        """Some rows of the answer of a query.

        ``columns``: names, in this order; None: all, those of FOUND only beside a search. Raises ActFocusError for an invalid
        query or an unknown column, and NotReady where something must be computed first.
        """
        order, chosen = self._order(query), self._chosen(columns, query)
        rows = order[max(offset, 0) : max(offset, 0) + max(limit, 0)]
        table = pa.table({column.name: self._column(column.name, query.search, rows) for column in chosen})
        ids = self._stored["id"].take(pa.array(rows)).to_pylist()
        return Page(len(order), self.total, offset, ids, chosen, table, self._values.complete)

    def ids(self, query: Query = ALL) -> list[str]:
        """The ids of the whole answer, in order. Raises as ``page``."""
        ids: list[str] = self._stored["id"].take(pa.array(self._order(query))).to_pylist()
        return ids

    def place(self, query: Query, id: str) -> int | None:
        """The place of a rollout in the answer, counted from 0; None if it is not in it. Raises as ``page``."""
        row = pc.index(self._stored["id"], id).as_py()
        order = self._order(query).tolist()
        return order.index(row) if row in order else None

    def extremes(
        self,
        measure: str,
        *,
        top: int = 20,
        lowest: bool = False,
        kind: str | None = None,
        query: Query = ALL,
        on_progress: OnProgress | None = None,
        cancelled: Cancelled | None = None,
    ) -> list[Extreme]:
        """The highest or lowest sampled tokens of a signal, weight or credit (``tokens.MEASURES``) in the rollouts of a query.

        Reads the run once, with one batch in memory; the last answers are remembered. Raises ``Cancelled``, NotReady, and
        ActFocusError for an unknown measure or kind, or ``top`` out of range.
        """
        tokens.check(measure, top, kind)
        key = ("extremes", measure, top, lowest, kind, query.where, query.search)
        rows = None if not query.where and query.search is None else set(self._order(query).tolist())

        def find() -> list[Extreme]:
            return tokens.extremes(
                self.run,
                measure,
                self._index,
                (self.a, self.b),
                self.reference,
                top=top,
                lowest=lowest,
                kind=kind,
                rows=rows,
                on_progress=on_progress,
                cancelled=cancelled,
            )

        return list(self._once(key, find))

    # --- inside --------------------------------------------------------------------------

    @property
    def _facts(self) -> Facts:
        with self._reading:
            if self._read is None:
                self._read = cached_facts(self.files, self.cache) or read_facts(self.files, self.cache)
            return self._read

    @property
    def _stored(self) -> pa.Table:
        return self._facts.table

    @property
    def _sizes(self) -> list[int]:
        """Rows of each file."""
        return self._facts.sizes

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @cached_property
    def _index(self) -> pa.Table:
        """What finding the batches of a step needs: ``row``, ``file_step``, ``group`` and ``tokens``."""
        steps = np.repeat([part.step for part in self.parts], self._sizes).astype(np.int64)
        table = self._stored.select(["group", "tokens"])
        return table.append_column("file_step", pa.array(steps)).append_column("row", pa.array(np.arange(len(steps))))

    @property
    def _values(self) -> Values:
        with self._valuing:
            if self._known is None:
                self._known = Values(self.run, self.a, self.b, self.reference, self._index, self.cache)
            return self._known

    def _text_index(self) -> TextIndex | None:
        """The index of the texts, if it is in memory or in the cache."""
        if self._texts is None and self._indexing.acquire(blocking=False):
            try:
                self._texts = TextIndex.stored(self.files, self._sizes, self.cache)
            finally:
                self._indexing.release()
        return self._texts

    def _once(self, key: object, make: Callable[[], Made]) -> Made:
        """The remembered answer of a key, or ``make()``."""
        with self._lock:
            if key in self._remembered:
                return self._remembered[key]  # type: ignore[return-value]
        made = make()
        with self._lock:
            self._remembered[key] = made
            while len(self._remembered) > _REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
        return made

    def _parsed(self, query: Query) -> where.Condition | None:
        """The condition of a query. Raises ActFocusError for an invalid one."""
        if query.sort and query.sort not in self._by_name:
            raise ActFocusError(f"sort: {unknown_column(query.sort, self._by_name)}")
        if query.sort in _FOUND and query.search is None:
            raise ActFocusError(f"sort: {query.sort} needs a search")
        known = {name: column for name, column in self._by_name.items() if name not in _FOUND}
        return where.parse(query.where, known)

    def _order(self, query: Query) -> npt.NDArray[np.int64]:
        """The rows of an answer, in order."""
        if needed := self.needs(query):
            raise NotReady(needed)
        return self._once(("order", query), lambda: self._found_and_sorted(query))

    def _found_and_sorted(self, query: Query) -> npt.NDArray[np.int64]:
        condition = self._parsed(query)
        keep = np.ones(self.total, bool)
        if condition is not None:
            named = where.names(condition)
            table = self._stored
            for name in named & _COMPUTED:
                table = table.append_column(name, self._values.table()[name])
            truth = Evaluation(table, self._has).of(condition)
            keep &= pc.fill_null(truth, False).to_numpy(zero_copy_only=False)
        if query.search is not None:
            keep &= self._hits(query.search).counts > 0
        rows = np.flatnonzero(keep)
        if not query.sort:
            return rows[::-1] if query.descending else rows
        column = self._column(query.sort, query.search, rows)
        # Null is last in both directions.
        keys = pa.table({"value": column, "row": rows})
        direction = "descending" if query.descending else "ascending"
        order = [("value", direction), ("row", "ascending")]
        found: npt.NDArray[np.int64] = rows[pc.sort_indices(keys, sort_keys=order).to_numpy()]
        return found

    def _column(self, name: str, search: Search | None, rows: npt.NDArray[np.int64]) -> pa.Array:
        """A column at some rows."""
        if name in _FOUND:
            assert search is not None  # checked by _parsed
            hits = self._hits(search)
            return pa.array(hits.counts[rows], pa.int64()) if name == "hits" else pa.array(hits.first(rows), pa.int64())
        table = self._values.table() if name in _COMPUTED else self._stored
        return table[name].take(pa.array(rows))

    def _hits(self, search: Search) -> Hits:
        texts = self._text_index()
        if texts is None:
            raise NotReady(frozenset({"text"}))
        return self._once(("hits", search), lambda: texts.search(search))

    def _has(self, kind: str | None, text: str, regex: bool) -> npt.NDArray[np.bool_]:
        """For ``where``: whether each rollout has a text in it."""
        return self._hits(Search(text, regex, kind=kind)).counts > 0

    def _chosen(self, names: Sequence[str] | None, query: Query) -> list[Column]:
        if names is None:
            return [c for c in self.columns if c.source != "search" or query.search is not None]
        for name in names:
            if name not in self._by_name:
                raise ActFocusError(f"columns: {unknown_column(name, self._by_name)}")
            if name in _FOUND and query.search is None:
                raise ActFocusError(f"columns: {name} needs a search")
        return [self._by_name[name] for name in dict.fromkeys(names)]
