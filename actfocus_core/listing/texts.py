"""The index of the texts: what all tokens say, one Arrow file for each trajectory file, memory-mapped, and search in it.

A row is an unbroken piece of one kind of token. The pieces of a rollout follow each other in one buffer, so the same bytes are
also its whole text, in which a hit may lie across kinds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actfocus_core.errors import ActFocusError
from actfocus_core.listing.cache import Cache
from actfocus_core.listing.query import Cancelled, Search
from actfocus_core.runs.index import Stamp, stamp
from actfocus_core.runs.parquet import open_parquet
from actfocus_core.runs.schema import COLUMNS
from actfocus_core.runs.tables import require_columns, require_types
from actfocus_core.trajectory import TokenKind

SCHEMA = pa.schema([("text", pa.string()), ("kind", pa.uint8()), ("row", pa.int32()), ("lengths", pa.binary())])
"""``row``: of the trajectory in its file; ``lengths``: bytes of every token, see ``encode_lengths``."""
KINDS = {"reasoning": TokenKind.REASONING, "action": TokenKind.ACTION, "observation": TokenKind.USER}
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_SHORT = 3
"""Characters from which text is searched for by RE2, which skips what cannot begin a hit; short text has many hits, between which
it is slow."""
_READ_ROWS = 256
"""Trajectories read at once."""
_VERSION = 1


def encode_lengths(lengths: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Lengths as bytes: 255 as often as it fits, then the rest; and uint8 counts of these bytes for every length."""
    counts = lengths // 255 + 1
    out = np.full(counts.sum(), 255, np.uint8)
    out[np.cumsum(counts) - 1] = lengths % 255
    return out, counts


def decode_ends(encoded: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The end of every token in bytes, from the ``encode_lengths`` of consecutive tokens."""
    ends: npt.NDArray[np.int64] = np.cumsum(encoded, dtype=np.int64)[encoded != 255]
    return ends


@dataclass(frozen=True)
class _Texts:
    """The rollouts of one record batch of the index."""

    batch: pa.RecordBatch
    first: int
    """the row in the list of the first trajectory of the file"""

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """The row of every piece in the list."""
        rows: npt.NDArray[np.int64] = self.batch["row"].to_numpy().astype(np.int64) + self.first
        return rows

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """The first piece of every rollout."""
        return np.flatnonzero(np.diff(self.rows, prepend=-1))

    @cached_property
    def whole(self) -> pa.StringArray:
        """The text of every rollout, on the same bytes as the pieces."""
        pieces = self.batch["text"]
        _, offsets, data = pieces.buffers()
        ends = np.frombuffer(offsets, np.int32)[pieces.offset : pieces.offset + len(pieces) + 1]
        return pa.StringArray.from_buffers(len(self.starts), pa.py_buffer(ends[[*self.starts, -1]]), data)

    def searched(self, kind: str | None) -> tuple[pa.StringArray, npt.NDArray[np.int64]]:
        """The texts to look into, and the row of each in the list."""
        if kind is None:
            return self.whole, self.rows[self.starts]
        here = pc.equal(self.batch["kind"], int(KINDS[kind]))
        return self.batch["text"].filter(here), self.rows[here.to_numpy(zero_copy_only=False)]


@dataclass(frozen=True)
class Hits:
    """The rollouts in which a search found something."""

    counts: npt.NDArray[np.int32]
    """[rows], hits that do not overlap"""
    _texts: TextIndex
    _search: Search

    def first(self, rows: Iterable[int]) -> list[int | None]:
        """The token in which the first hit begins, for some rows; None where there is no hit."""
        return [self._texts.first_token(row, self._search) if self.counts[row] else None for row in rows]


class TextIndex:
    """The texts of all rollouts of a run's files."""

    def __init__(self, batches: list[_Texts], rows: int):
        self._batches, self._rows = batches, rows
        firsts = [int(batch.rows[0]) for batch in batches]
        self._firsts = np.array(firsts, np.int64)

    @classmethod
    def build(
        cls,
        files: Sequence[tuple[Path, Stamp]],
        rows: Sequence[int],
        cache: Cache,
        on_progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> TextIndex:
        """The index of trajectory files with these numbers of rows, read from the cache or built.

        ``on_progress(done, total)`` counts rollouts. Raises Cancelled, or ActFocusError for a file that is damaged or was
        changed.
        """
        batches: list[_Texts] = []
        first, total = 0, sum(rows)
        for (file, mark), count in zip(files, rows):

            def report(done: int, first: int = first) -> None:
                if cancelled and cancelled():
                    raise Cancelled
                if on_progress:
                    on_progress(first + done, total)

            table = _table(file, mark, count, cache, report)
            batches += [_Texts(batch, first) for batch in table.to_batches() if batch.num_rows]
            first += count
            report(0, first)
        return cls(batches, total)

    @classmethod
    def stored(cls, files: Sequence[tuple[Path, Stamp]], rows: Sequence[int], cache: Cache) -> TextIndex | None:
        """The index, if the cache has it for every file."""
        tables = []
        for file, mark in files:
            table = cache.read(_name(file), _key(file, mark))
            if table is None or table.schema != SCHEMA:
                return None
            tables.append(table)
        firsts = np.cumsum([0, *rows]).tolist()
        return cls(
            [_Texts(b, first) for table, first in zip(tables, firsts) for b in table.to_batches() if b.num_rows],
            sum(rows),
        )

    def search(self, search: Search) -> Hits:
        """Search all texts, with a thread for each core."""
        counts = np.zeros(self._rows, np.int32)

        def look(texts: _Texts) -> None:
            inside, rows = texts.searched(search.kind)
            np.add.at(counts, rows, count(inside, search).to_numpy())

        with ThreadPoolExecutor() as pool:
            list(pool.map(look, self._batches))
        return Hits(counts, self, search)

    def first_token(self, row: int, search: Search) -> int | None:
        """The token in which the first hit of one rollout begins."""
        texts = self._batches[int(np.searchsorted(self._firsts, row, side="right")) - 1]
        pieces = np.flatnonzero(texts.rows == row)
        if not len(pieces):
            return None
        batch = texts.batch.slice(pieces[0], len(pieces))
        ends = decode_ends(np.frombuffer(b"".join(batch["lengths"].to_pylist()), np.uint8))
        if search.kind is None:
            inside, before = texts.whole.slice(int(np.searchsorted(texts.starts, pieces[0])), 1), np.zeros(1, np.int64)
        else:
            sizes = pc.binary_length(batch["text"]).to_numpy().astype(np.int64)
            here = batch["kind"].to_numpy() == KINDS[search.kind]
            inside, before = batch["text"].filter(pa.array(here)), (np.cumsum(sizes) - sizes)[here]
        for start, place in zip(before, first_hits(inside, search)):
            if place >= 0:
                return int(np.searchsorted(ends, start + place, side="right"))
        return None


def count(texts: pa.StringArray, search: Search) -> pa.Array:
    """Hits that do not overlap in each of some texts."""
    if not search.regex and len(search.text) < _SHORT:
        return pc.count_substring(texts, search.text, ignore_case=search.ignore_case)
    pattern = _pattern(search)
    if not search.regex or not any(sign in pattern for sign in ("^", r"\A", r"\b", r"\B")):
        return pc.count_substring_regex(texts, pattern)
    # Arrow goes on counting as if the text began behind a hit, so ^ would match there again; replacing does not.
    found = pc.match_substring_regex(texts, pattern)
    candidates = texts.filter(found)
    mark = _mark(candidates)
    hits = pc.count_substring(pc.replace_substring_regex(candidates, pattern, mark), mark)
    return pc.replace_with_mask(pa.repeat(pa.scalar(0, pa.int32()), len(texts)), found, hits)


def first_hits(texts: pa.StringArray, search: Search) -> list[int]:
    """Where the first hit begins in each of some texts, in bytes; -1 where there is none.

    By replacing it, since to find an expression some versions of Arrow take every byte for a character.
    """
    mark = _mark(texts)
    marked = pc.replace_substring_regex(texts, _pattern(search), mark, max_replacements=1)
    return [text.encode().find(mark.encode()) for text in marked.to_pylist()]


def _pattern(search: Search) -> str:
    """What is searched for as an expression of RE2."""
    pattern = search.text if search.regex else _SPECIAL.sub(r"\\\g<0>", search.text)
    return f"(?i){pattern}" if search.ignore_case else pattern


def _mark(texts: pa.StringArray) -> str:
    """A text that none of these has in it."""
    mark = "\x00"
    while pc.any(pc.match_substring(texts, mark)).as_py():
        mark += "\x01\x00"
    return mark


def _name(file: Path) -> str:
    return f"text-{file.stem}"


def _key(file: Path, mark: Stamp) -> str:
    return f"text {_VERSION} {file.name} {mark}"


def _table(file: Path, mark: Stamp, rows: int, cache: Cache, report: Callable[[int], None]) -> pa.Table:
    """The index of one file."""
    key = _key(file, mark)
    stored = cache.read(_name(file), key)
    if stored is not None and stored.schema == SCHEMA:
        return stored

    def batches() -> Iterator[pa.RecordBatch]:
        yield from _batches(file, report)
        if stamp(file) != mark:
            raise ActFocusError(f"{file}: was changed while it was read; open the run again")

    if cache.write(_name(file), key, batches(), SCHEMA):
        stored = cache.read(_name(file), key)
        if stored is not None:
            return stored
    return pa.Table.from_batches(batches(), SCHEMA)


def _batches(file: Path, report: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
    """The pieces of the rollouts of a file."""
    done = 0
    with open_parquet(file) as parquet:
        require_columns(parquet.schema_arrow.names, ["texts", "kinds"], file)
        for batch in parquet.iter_batches(_READ_ROWS, columns=["texts", "kinds"]):
            report(done)
            table = pa.Table.from_batches([batch])
            table.validate(full=True)
            require_types(table, {name: COLUMNS[name] for name in ("texts", "kinds")}, file)
            yield _pieces(batch["texts"], batch["kinds"], done, file)
            done += batch.num_rows


def _pieces(texts: pa.ListArray, kinds: pa.ListArray, first: int, file: Path) -> pa.RecordBatch:
    """The pieces of some rollouts, of which the first is in row ``first`` of the file."""
    lengths = pc.list_value_length(texts)
    if not lengths.equals(pc.list_value_length(kinds)):
        raise ActFocusError(
            f"{file}: a trajectory has another number of kinds than of texts; the lengths must be equal"
        )
    flat = texts.flatten()
    kind = kinds.flatten().to_numpy()
    row = np.repeat(np.arange(first, first + len(texts)), lengths.to_numpy())
    sizes = pc.binary_length(flat).to_numpy().astype(np.int64)
    starts = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(kind.astype(np.int16), prepend=-1) != 0))
    encoded, counts = encode_lengths(sizes)
    pieces = _cut(pa.concat_arrays([flat]), np.append(0, np.cumsum(sizes)), starts)
    encoded_pieces = pa.BinaryArray.from_buffers(
        pa.binary(),
        len(starts),
        [None, _offsets(np.append(0, np.cumsum(counts)), starts), pa.py_buffer(encoded)],
    )
    columns = [pieces, pa.array(kind[starts]), pa.array(row[starts].astype(np.int32)), encoded_pieces]
    return pa.record_batch(columns, schema=SCHEMA)


def _cut(flat: pa.StringArray, ends: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]) -> pa.StringArray:
    """Pieces of consecutive strings, on the same bytes. ``ends``: [tokens + 1], their borders; ``starts``: first tokens."""
    _, offsets, data = flat.buffers()
    begin = int(np.frombuffer(offsets, np.int32)[flat.offset]) if len(flat) else 0
    data = pa.py_buffer(b"") if data is None else data.slice(begin)
    return pa.StringArray.from_buffers(len(starts), _offsets(ends, starts), data)


def _offsets(ends: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]) -> pa.Buffer:
    return pa.py_buffer(ends[np.append(starts, len(ends) - 1)].astype(np.int32))
