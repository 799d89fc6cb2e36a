"""One row a trajectory: scalars and counts, without any token."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from actfocus_core.errors import ActFocusError
from actfocus_core.runs.parquet import open_parquet, read_table
from actfocus_core.runs.schema import COUNTS, SCALARS
from actfocus_core.runs.tables import require_columns, require_types

SCHEMA = pa.schema(SCALARS | COUNTS)
Stamp = tuple[int, int, int]
"""What ``stamp`` gives of a file."""


def stamp(file: Path) -> Stamp:
    """What changes when a file is replaced, however the clock goes: its time, size and inode.

    Raises ActFocusError where it is gone.
    """
    try:
        found = file.stat()
    except OSError as error:
        raise ActFocusError(f"{file}: cannot be read ({error.strerror}); was the run deleted?") from None
    return found.st_mtime_ns, found.st_size, found.st_ino


@lru_cache(maxsize=4096)
def read_index(file: Path, stamp: Stamp) -> pa.Table:
    """SCALARS and COUNTS of one file. Its stamp is part of the key: a new file, a new entry."""
    wanted = [*SCALARS, *COUNTS]
    with open_parquet(file) as parquet:
        names = parquet.schema_arrow.names
    require_columns(names, wanted, file)
    table = read_table(file, None, wanted)
    require_types(table, {**SCALARS, **COUNTS}, file)
    # A stranger's file may have the columns in another order, or call them non-nullable.
    return table.select(wanted).cast(SCHEMA)
