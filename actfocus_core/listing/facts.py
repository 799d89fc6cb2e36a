"""The stored columns of the list, read from the Parquet files of a run without reading tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actfocus_core.errors import ActFocusError
from actfocus_core.listing.cache import Cache
from actfocus_core.listing.columns import ARROW, FIXED, OWN, REWARDS, STORED, Column, Kind, own_column, reward_column
from actfocus_core.runs.index import Stamp, read_index
from actfocus_core.runs.optional import require_optional
from actfocus_core.runs.parquet import open_parquet, read_table
from actfocus_core.runs.schema import METADATA_KEY

OWN_MAX = 200
"""Columns of the imported file, and components of the reward, that are listed; more are counted as left out."""
_READ_MAX = 2000
"""Columns of the imported file that are read of one file of the run."""
_VERSION = 1
_EXTRA = ("error", "stop_reason", "rewards", "columns")
_RENAMED = {"turns": "n_turns", "tokens": "n_tokens", "action_tokens": "n_action"}
_NUMBERS = {"step", "segment", "turns", "tokens", "sampled_tokens", "action_tokens"}


Files = Sequence[tuple[Path, Stamp]]
"""Trajectory files in the order of the run, each with its stamp."""


class Facts(NamedTuple):
    """The stored columns of the rows of some files."""

    table: pa.Table
    columns: list[Column]
    sizes: list[int]
    """rows of each file"""
    left_out: int
    """columns of the imported file, and components of the reward, that are not listed"""


def read_facts(files: Files, cache: Cache) -> Facts:
    """The stored columns of all rows of some files, which the cache keeps.

    An unknown number, success or reason is null. Raises ActFocusError for a file that cannot be read.
    """
    with ThreadPoolExecutor() as pool:
        read = _joined_facts(list(pool.map(lambda file: _part(*file), files)))
    described = {
        "columns": [column.as_dict() for column in read.columns],
        "sizes": read.sizes,
        "left_out": read.left_out,
    }
    schema = read.table.schema.with_metadata({METADATA_KEY: json.dumps(described)})
    cache.write("facts", _key(files), read.table.to_batches(), schema)
    return read


def first_facts(files: Files, rows: int) -> Facts:
    """The stored columns of the first files, as many as have so many rows. ``sizes`` has those of all files."""
    sizes = []
    for file, _ in files:
        with open_parquet(file) as parquet:
            sizes.append(parquet.metadata.num_rows)
    count = int(np.searchsorted(np.cumsum(sizes), rows)) + 1
    return _joined_facts([_part(*file) for file in files[:count]])._replace(sizes=sizes)


def cached_facts(files: Files, cache: Cache) -> Facts | None:
    """What ``read_facts`` has stored, if it is still right."""
    table = cache.read("facts", _key(files))
    if table is None:
        return None
    try:
        described = json.loads(table.schema.metadata[METADATA_KEY])
        columns = [Column(**column) for column in described["columns"]]
        found = Facts(table.replace_schema_metadata(None), columns, described["sizes"], described["left_out"])
    except (KeyError, TypeError, ValueError):
        return None
    return found if len(found.sizes) == len(files) and sum(found.sizes) == table.num_rows else None


def _key(files: Files) -> str:
    return json.dumps([_VERSION, [[file.name, *mark] for file, mark in files]])


def _joined_facts(parts: list[_Part]) -> Facts:
    table = pa.concat_tables([_SCHEMA.empty_table(), *(part.fixed for part in parts)])
    columns, left_out = list(STORED), 0
    sizes = [part.fixed.num_rows for part in parts]
    for prefix, found in ((REWARDS, [part.rewards for part in parts]), (OWN, [part.own for part in parts])):
        names = sorted({name for part in found for name in part})
        left_out += max(len(names) - OWN_MAX, 0)
        for name in names[:OWN_MAX]:
            values = _joined([part.get(name) for part in found], sizes)
            columns.append(reward_column(name) if prefix == REWARDS else own_column(name, _kind(values.type)))
            table = table.append_column(prefix + name, values)
            if prefix + name == OWN + "split":
                table = table.set_column(table.column_names.index("split"), "split", values.cast(pa.string()))
    return Facts(table.combine_chunks(), columns, sizes, left_out)


class _Part(NamedTuple):
    """The rows of one file."""

    fixed: pa.Table
    rewards: dict[str, pa.Array]
    """component -> float64 [rows], its scores"""
    own: dict[str, pa.Array]
    """column of the imported file -> [rows]"""


@lru_cache(maxsize=1 << 10)
def _part(file: Path, stamp: Stamp) -> _Part:
    """The rows of one file. The stamp is part of the cache key, so a replaced file is read again."""
    index = read_index(file, stamp)
    rows = index.num_rows
    with open_parquet(file) as parquet:
        present = [name for name in _EXTRA if name in parquet.schema_arrow.names]
    extra = read_table(file, None, present) if present else pa.table({})
    for name in present:
        require_optional(extra, name, file)
    text = {
        name: extra[name].fill_null("") if name in present else pa.repeat(pa.scalar(""), rows)
        for name in ("error", "stop_reason")
    }
    reward, penalty = _known(index["reward"]), _known(index["penalty"])
    values = {
        **{name: index[_RENAMED.get(name, name)] for name in FIXED if _RENAMED.get(name, name) in index.column_names},
        "reward": reward,
        "penalty": penalty,
        "return": pc.add(reward, penalty),
        "sampled_tokens": pc.add(pc.add(index["n_reasoning"], index["n_action"]), index["n_format"]),
        "malformed": pc.less(index["n_valid"], index["n_turns"]),
        "error": text["error"],
        "stop_reason": pc.if_else(pc.equal(text["stop_reason"], ""), None, text["stop_reason"]),
        "split": pa.nulls(rows, pa.string()),
    }
    table = pa.table({field.name: values[field.name] for field in _SCHEMA}).cast(_SCHEMA)
    rewards = _rewards(extra["rewards"], file) if "rewards" in present else {}
    return _Part(table, rewards, _own(extra["columns"], file) if "columns" in present else {})


_SCHEMA = pa.schema([(c.name, ARROW.get(c.kind, pa.int64() if c.name in _NUMBERS else pa.float64())) for c in STORED])


def _known(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers with null in place of NaN and infinity."""
    return pc.if_else(pc.is_finite(values), values, None)


def _rewards(column: pa.ChunkedArray, file: Path) -> dict[str, pa.Array]:
    """Component -> float64 [rows], null where it has no score."""
    lists = column.combine_chunks()
    flat, rows = lists.flatten(), pc.list_parent_indices(lists)
    names, scores = flat.field("name"), _known(flat.field("score"))
    if names.null_count:
        raise ActFocusError(f"{file}: column 'rewards' has a null inside a value; only whole values may be null")
    found = {}
    for name in pc.unique(names).to_pylist():
        here = pc.equal(names, name)
        found[name] = _placed(scores.filter(here), rows.filter(here), len(lists))
    return found


def _placed(values: pa.Array, rows: pa.Array, count: int) -> pa.Array:
    """float64 [count] with the values at some rows, null elsewhere."""
    out = np.full(count, np.nan)
    out[rows.to_numpy()] = values.to_numpy(zero_copy_only=False)
    return pa.array(out, from_pandas=True)


def _own(column: pa.ChunkedArray, file: Path) -> dict[str, pa.Array]:
    """Column of the imported file -> [rows], null where a row has none."""
    found: dict[str, list[Any]] = {}
    for row, text in enumerate(column.to_pylist()):
        if text is None:
            continue
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ActFocusError(f"{file}: column 'columns' is not JSON ({error})") from None
        if not isinstance(values, dict):
            raise ActFocusError(f"{file}: column 'columns' is not an object in row {row + 1}")
        for name, value in values.items():
            if len(found) < _READ_MAX or name in found:
                found.setdefault(name, [None] * len(column))[row] = value
    return {name: _array(values) for name, values in found.items()}


def _array(values: list[Any]) -> pa.Array:
    """Values of one kind as truth or numbers; anything else as text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds and kinds <= {int, float}:
        whole = kinds == {int} and all(value is None or abs(value) < 1 << 53 for value in values)
        return (
            pa.array(values, pa.int64()) if whole else _known(pa.array([v if v is None else float(v) for v in values]))
        )
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pa.array([None if text is None else text.encode("utf-8", "replace").decode() for text in texts], pa.string())


def _joined(parts: list[pa.Array | None], sizes: list[int]) -> pa.ChunkedArray:
    """The values of all files, of one type; null in files without the column."""
    types = {part.type for part in parts if part is not None}
    numbers = {pa.int64(), pa.float64()}
    kind = types.pop() if len(types) == 1 else pa.float64() if types == numbers else pa.string()
    arrays = [pa.nulls(size, kind) if part is None else part.cast(kind) for part, size in zip(parts, sizes)]
    return pa.chunked_array(arrays, kind)


def _kind(type: pa.DataType) -> Kind:
    return "truth" if pa.types.is_boolean(type) else "text" if pa.types.is_string(type) else "number"
