"""Reading and writing of Parquet files: by row group, with validation, since files may be untrusted, and atomically."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from actfocus_core.errors import ActFocusError
from actfocus_core.files import open_to_read
from actfocus_core.paths import atomic_write
from actfocus_core.runs.schema import ROWS_PER_GROUP


def write_table(table: pa.Table, file: Path) -> None:
    """Write a file atomically and durably. Raises ActFocusError where it cannot be written."""
    try:
        with atomic_write(file, durable=True) as part:
            pq.write_table(table, part, row_group_size=ROWS_PER_GROUP, compression="zstd")
    except OSError as error:
        raise ActFocusError(f"{file}: cannot be written ({error.strerror or error})") from None


def read_table(file: Path, row: int | None, columns: list[str] | None = None) -> pa.Table:
    """The whole table, or one row of it, for which only its row group is read. Raises ActFocusError if it cannot be read."""
    with open_parquet(file) as parquet:
        if row is None:
            return _valid(parquet.read(columns))
        if row >= parquet.metadata.num_rows:
            raise ActFocusError(f"{file}: has {parquet.metadata.num_rows} rows, so row {row + 1} does not exist")
        group, first = 0, 0
        while row >= first + parquet.metadata.row_group(group).num_rows:
            first += parquet.metadata.row_group(group).num_rows
            group += 1
        return _valid(parquet.read_row_group(group, columns)).slice(row - first, 1)


@contextmanager
def open_parquet(file: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file of a run. Raises ActFocusError for errors of opening or reading it."""
    with _readable(file), _native(file) as stream:
        yield pq.ParquetFile(stream)


def _native(file: Path) -> pa.NativeFile:
    """Open a regular file for Arrow.

    Arrow's threads must not call into Python, as they would for a Python file object: a daemon thread that reads while the
    interpreter exits would block forever. So Arrow opens the checked file again by its descriptor.
    """
    with open_to_read(file) as checked:
        return pa.OSFile(f"/dev/fd/{checked.fileno()}")


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Convert the errors of reading a Parquet file to ActFocusError."""
    try:
        yield
    except OSError as error:
        raise ActFocusError(f"{file}: not readable as Parquet ({error.strerror or _first_line(error)})") from None
    except (pa.ArrowException, UnicodeDecodeError) as error:
        # Names in a damaged footer may not be UTF-8.
        raise ActFocusError(f"{file}: not readable as Parquet ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


class RowReader:
    """Reads the rows of a Parquet file in order, by row group (iteration) or by a number of rows (``take``)."""

    def __init__(self, file: Path, without: Collection[str] = ()):
        """``without``: columns that are not read."""
        self._file = file
        with _readable(file):
            self._parquet = pq.ParquetFile(_native(file))
            names = self._parquet.schema_arrow.names
            kept = [place for place, name in enumerate(names) if name not in without]
            self._columns = [names[place] for place in kept] if without else None
            self._rest = self._parquet.schema_arrow.empty_table().select(kept)
        self._groups = iter(self)

    def __iter__(self) -> Iterator[pa.Table]:
        for group in range(self._parquet.num_row_groups):
            with _readable(self._file):
                table = _valid(self._parquet.read_row_group(group, self._columns))
            yield table

    def take(self, count: int) -> pa.Table:
        """The next ``count`` rows, or fewer at the end of the file."""
        while self._rest.num_rows < count and (table := next(self._groups, None)) is not None:
            self._rest = pa.concat_tables([self._rest, table])
        taken, self._rest = self._rest.slice(0, count), self._rest.slice(count)
        return taken


class RowGroups:
    """Reads rows of a Parquet file by number. The last row group stays in memory, since neighbours are often read next."""

    def __init__(self, file: Path):
        self._file = file
        self._last: tuple[int, pa.Table] | None = None
        with open_parquet(file) as parquet:
            sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
        self._starts = [0, *accumulate(sizes)]

    def take(self, rows: list[int]) -> pa.Table:
        """The rows with these numbers, in this order. Raises ActFocusError if the file cannot be read."""
        groups = [bisect_right(self._starts, row) - 1 for row in rows]
        tables = {group: self._group(group) for group in sorted(set(groups))}
        return pa.concat_tables([tables[group].slice(row - self._starts[group], 1) for group, row in zip(groups, rows)])

    def _group(self, group: int) -> pa.Table:
        if self._last is None or self._last[0] != group:
            with open_parquet(self._file) as parquet:
                self._last = group, _valid(parquet.read_row_group(group))
        return self._last[1]


def _valid(table: pa.Table) -> pa.Table:
    """The table after a full validation: offsets in range, text valid UTF-8."""
    table.validate(full=True)
    return table
