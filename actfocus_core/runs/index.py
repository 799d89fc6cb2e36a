"""One row a trajectory: scalars and counts, without any token."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from actfocus_core.errors import ActFocusError
from actfocus_core.runs.names import Part
from actfocus_core.runs.optional import require_optional
from actfocus_core.runs.parquet import open_parquet, read_table
from actfocus_core.runs.schema import COUNTS, INDEXED, OPTIONAL, SCALARS
from actfocus_core.runs.tables import require_columns, require_types

if TYPE_CHECKING:
    import pandas as pd

_DEFAULTS = {"rollout_id": "", "segment": 0, "agent": "", "trainable": True}
"""Of the columns of INDEXED, where a file or a row has none."""
SCHEMA = pa.schema(SCALARS | {name: OPTIONAL[name] for name in INDEXED} | COUNTS)
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


class Index:
    """The rows of all trajectories of some files, in order."""

    def __init__(self, parts: Sequence[Part], files: tuple[tuple[Path, Stamp], ...]):
        self.parts, self.files = parts, files
        tables = [read_index(*file) for file in files]
        self.table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
        self.starts = [0, *np.cumsum([table.num_rows for table in tables]).tolist()]
        """at which row each file begins"""

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of every trajectory, by its id."""
        return {id: row for row, id in enumerate(self.table["id"].to_pylist())}

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The table, with ``return``. ``success`` is pandas' own boolean, which can be unknown (NA)."""
        import pandas as pd

        frame = self.table.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
        frame = frame.astype(dict.fromkeys(("terminated", "truncated", "trainable"), bool))
        frame["return"] = frame["reward"] + frame["penalty"]
        return frame


@lru_cache(maxsize=1 << 14)
def read_index(file: Path, stamp: Stamp) -> pa.Table:
    """The columns of SCHEMA of one file. Its stamp is part of the key: a new file, a new entry."""
    required = {**SCALARS, **COUNTS}
    with open_parquet(file) as parquet:
        names = parquet.schema_arrow.names
    require_columns(names, [*required], file)
    there = [name for name in INDEXED if name in names]
    table = read_table(file, None, [*required, *there])
    require_types(table, required, file)
    for name in INDEXED:
        if name in there:
            require_optional(table, name, file)
            filled = table[name].fill_null(_DEFAULTS[name])
            table = table.set_column(table.column_names.index(name), name, filled)
        else:
            table = table.append_column(name, pa.repeat(pa.scalar(_DEFAULTS[name], OPTIONAL[name]), table.num_rows))
    # A stranger's file may have the columns in another order, or call them non-nullable.
    return table.select(SCHEMA.names).cast(SCHEMA)
