"""The index of a run: one row per trajectory, with scalars and counts but without tokens."""

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
"""Values of the columns of INDEXED that are missing or null."""
SCHEMA = pa.schema(SCALARS | {name: OPTIONAL[name] for name in INDEXED} | COUNTS)
Stamp = tuple[int, int, int]
"""The result of ``stamp``."""


def stamp(file: Path) -> Stamp:
    """Modification time, size and inode of a file, which change when it is replaced, even if the clock is wrong.

    Raises ActFocusError if the file no longer exists.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise ActFocusError(f"{file}: cannot be read ({error.strerror}); was the run deleted?") from None
    return status.st_mtime_ns, status.st_size, status.st_ino


class Index:
    """The rows of all trajectories in some files, in order."""

    def __init__(self, parts: Sequence[Part], files: tuple[tuple[Path, Stamp], ...]):
        self.parts, self.files = parts, files
        tables = [read_index(*file) for file in files]
        self.table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
        self.starts = [0, *np.cumsum([table.num_rows for table in tables]).tolist()]
        """the first row of each file"""

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of every trajectory by its id."""
        return {id: row for row, id in enumerate(self.table["id"].to_pylist())}

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The table as a data frame, with ``return``. ``success`` has the nullable boolean type of pandas (NA: unknown)."""
        import pandas as pd

        frame = self.table.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
        frame = frame.astype(dict.fromkeys(("terminated", "truncated", "trainable"), bool))
        frame["return"] = frame["reward"] + frame["penalty"]
        return frame


@lru_cache(maxsize=1 << 14)
def read_index(file: Path, stamp: Stamp) -> pa.Table:
    """The columns of SCHEMA of one file. The stamp is part of the cache key, so a replaced file is read again."""
    required = {**SCALARS, **COUNTS}
    with open_parquet(file) as parquet:
        names = parquet.schema_arrow.names
    require_columns(names, [*required], file)
    present = [name for name in INDEXED if name in names]
    table = read_table(file, None, [*required, *present])
    require_types(table, required, file)
    for name in INDEXED:
        if name in present:
            require_optional(table, name, file)
            filled = table[name].fill_null(_DEFAULTS[name])
            table = table.set_column(table.column_names.index(name), name, filled)
        else:
            table = table.append_column(name, pa.repeat(pa.scalar(_DEFAULTS[name], OPTIONAL[name]), table.num_rows))
    # A file of another program may have another column order, or non-nullable columns.
    return table.select(SCHEMA.names).cast(SCHEMA)
