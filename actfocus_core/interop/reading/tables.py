"""Rows of Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading.compression import READ_ERRORS, reason
from actfocus_core.interop.reading.record import Record

BATCH_ROWS, BATCH_VALUES = 64, 4_000_000
"""Maximum number of rows of a Parquet file in memory at once, and approximate maximum number of values."""
DAMAGED = "row groups of Parquet files that cannot be read"


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a Parquet file. Raises ActFocusError if it is not readable."""
    try:
        return pq.ParquetFile(path)
    except READ_ERRORS as error:
        raise ActFocusError(f"{path}: not readable as Parquet ({reason(error)})") from None


def read_rows(
    path: Path,
    omissions: Omissions | None = None,
    on_bytes: Callable[[float], None] | None = None,
    columns: list[str] | None = None,
) -> Iterator[Record]:
    """Yield the rows of a Parquet file with all or the given columns, read in batches that are smaller for long rows.

    Rows from the first unreadable batch of a row group to the group's end are left out and counted in ``omissions``.
    ``on_bytes(count)`` receives the approximate number of bytes read since its last call. Raises ActFocusError if the
    file cannot be opened.
    """
    file = open_parquet(path)
    total = max(file.metadata.num_rows, 1)
    size = max(1, min(BATCH_ROWS, BATCH_VALUES * total // max(values_in(file), 1)))
    bytes_per_row, end = path.stat().st_size / total, 0
    for group in range(file.metadata.num_row_groups):
        number, end = end, end + file.metadata.row_group(group).num_rows
        try:
            for batch in file.iter_batches(size, row_groups=[group], columns=columns):
                for value in batch.to_pylist():
                    number += 1
                    yield Record(value, f"{path}, row {number}", from_table=True)
                if on_bytes:
                    on_bytes(bytes_per_row * batch.num_rows)
        except (*READ_ERRORS, ValueError) as error:
            refusal = ActFocusError(f"{path}: rows {number + 1} to {end} are not readable as Parquet ({reason(error)})")
            (Omissions() if omissions is None else omissions).refuse(DAMAGED, refusal)


def values_in(file: pq.ParquetFile) -> int:
    """Number of values in all columns of the readable row groups according to the metadata; the file size is no bound, as
    lists compress well."""
    groups = (file.metadata.row_group(n) for n in range(file.metadata.num_row_groups) if _begins(file, n))
    return sum(group.column(k).num_values for group in groups for k in range(group.num_columns))


def _begins(file: pq.ParquetFile, group: int) -> bool:
    """Whether the first row of a row group can be read.

    Asked for the metadata of a damaged column, pyarrow 26 ends the process with an exception of C++. Reading raises.
    """
    try:
        next(file.iter_batches(1, row_groups=[group]), None)
    except (*READ_ERRORS, ValueError):
        return False
    return True
