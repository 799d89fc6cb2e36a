"""Conversion of Arrow columns to NumPy arrays, one per trajectory, and detection of null values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from actfocus_core.errors import ActFocusError


def ragged(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    """A list column as one NumPy array per row, or None for a null row, without creating a Python object per number."""
    rows: list[np.ndarray | None] = []
    for chunk in column.chunks:
        flat = chunk.values.to_numpy(zero_copy_only=False)
        offsets, valid = chunk.offsets.to_numpy(), chunk.is_valid().to_numpy(zero_copy_only=False)
        rows += [flat[a:b] if ok else None for a, b, ok in zip(offsets, offsets[1:], valid)]
    return rows


def float_columns(table: pa.Table, prefix: str, what: str, file: Path) -> list[dict[str, np.ndarray]]:
    """The columns with a name prefix: for every row, name without the prefix -> float [T], without null values.

    ``what``: the kind of column, for error messages. Raises ActFocusError for a column that is not a list of floats.
    """
    rows: list[dict[str, np.ndarray]] = [{} for _ in range(table.num_rows)]
    for name in table.column_names:
        if name.startswith(prefix):
            kind = table.schema.field(name).type
            if not (pa.types.is_list(kind) and pa.types.is_floating(kind.value_type)):
                raise ActFocusError(
                    f"{file}: column {name!r} is {kind}; {what} must be a list of floats per trajectory"
                )
            for row, values in zip(rows, ragged(table[name])):
                if values is not None:
                    row[name.removeprefix(prefix)] = values
    return rows


def has_null(array: pa.Array) -> bool:
    """Whether any value is null, including values nested in lists and structs."""
    if array.null_count:
        return True
    if pa.types.is_list(array.type):
        return has_null(array.flatten())
    return pa.types.is_struct(array.type) and any(map(has_null, array.flatten()))
