"""Columns of Arrow as NumPy arrays, one a trajectory, and what they lack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from actfocus_core.errors import ActFocusError


def ragged(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    """A list column as one NumPy array a row, without a Python object a number; None where the row is null."""
    rows: list[np.ndarray | None] = []
    for chunk in column.chunks:
        flat = chunk.values.to_numpy(zero_copy_only=False)
        offsets, valid = chunk.offsets.to_numpy(), chunk.is_valid().to_numpy(zero_copy_only=False)
        rows += [flat[a:b] if ok else None for a, b, ok in zip(offsets, offsets[1:], valid)]
    return rows


def float_columns(table: pa.Table, prefix: str, what: str, file: Path) -> list[dict[str, np.ndarray]]:
    """The columns whose name has a prefix: of every row, the rest of the name -> float [T], where the row is not null.

    ``what`` such a column is, for the message. Raises ActFocusError for a column that is not lists of numbers.
    """
    rows: list[dict[str, np.ndarray]] = [{} for _ in range(table.num_rows)]
    for name in table.column_names:
        if name.startswith(prefix):
            kind = table.schema.field(name).type
            if not (pa.types.is_list(kind) and pa.types.is_floating(kind.value_type)):
                raise ActFocusError(f"{file}: column {name!r} is {kind}; {what} is a list of float a trajectory")
            for row, values in zip(rows, ragged(table[name])):
                if values is not None:
                    row[name.removeprefix(prefix)] = values
    return rows


def lacks(array: pa.Array) -> bool:
    """Whether a value is null, also inside of lists and structures."""
    if array.null_count:
        return True
    if pa.types.is_list(array.type):
        return lacks(array.flatten())
    return pa.types.is_struct(array.type) and any(map(lacks, array.flatten()))
