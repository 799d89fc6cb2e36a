"""Trajectories as tables of Parquet, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actfocus_core.errors import ActFocusError
from actfocus_core.runs.schema import (
    ALTERNATIVES,
    ANNOTATIONS,
    COLUMNS,
    COUNTS,
    OPTIONAL,
    REFERENCE_PREFIX,
    SCALARS,
    SIGNAL_PREFIX,
    holds,
    how_to_write_again,
)
from actfocus_core.trajectory import Alternatives, TokenKind, Trajectory, Turn


def facts_table(trajectories: list[Trajectory]) -> pa.Table:
    columns = {name: pa.array([getattr(t, name) for t in trajectories], kind) for name, kind in SCALARS.items()}
    counts = [_counts(t) for t in trajectories]
    columns |= {name: pa.array([c[name] for c in counts], kind) for name, kind in COUNTS.items()}
    columns |= {
        name: pa.array([getattr(t, name) for t in trajectories], kind)
        for name, kind in COLUMNS.items()
        if name != "turn_records"
    }
    columns["turn_records"] = pa.array(
        [[{**vars(turn), "state": json.dumps(turn.state)} for turn in t.turn_records] for t in trajectories],
        COLUMNS["turn_records"],
    )
    if any(t.columns for t in trajectories):
        columns["columns"] = pa.array(
            [json.dumps(t.columns) if t.columns else None for t in trajectories], OPTIONAL["columns"]
        )
    if any(t.rollout_id for t in trajectories):
        columns["rollout_id"] = pa.array([t.rollout_id or None for t in trajectories], OPTIONAL["rollout_id"])
    own = sorted({s for t in trajectories for s in t.signals if not s.startswith(REFERENCE_PREFIX)})
    return pa.table(columns | _signal_columns(trajectories, own))


def annotation_table(trajectories: list[Trajectory], name: str) -> pa.Table:
    names = sorted({s for t in trajectories for s in t.signals if holds(name, s)})
    columns = {"id": pa.array([t.id for t in trajectories], pa.string())}
    columns |= _signal_columns(trajectories, names)
    if name not in ANNOTATIONS and any(t.alternatives is not None for t in trajectories):
        alt = [t.alternatives for t in trajectories]
        columns["top_ids"] = pa.array([a and a.ids.ravel() for a in alt], pa.list_(pa.int32()))
        columns["top_logprobs"] = pa.array([a and a.logprobs.ravel() for a in alt], pa.list_(pa.float32()))
        columns["top_texts"] = pa.array([a and a.texts for a in alt], pa.list_(pa.list_(pa.string())))
    return pa.table(columns)


def _signal_columns(trajectories: list[Trajectory], names: list[str]) -> dict[str, pa.Array]:
    return {
        SIGNAL_PREFIX + n: pa.array([t.signals.get(n) for t in trajectories], pa.list_(pa.float32())) for n in names
    }


def _counts(t: Trajectory) -> dict[str, int]:
    by_kind = np.bincount(t.kinds, minlength=len(TokenKind))
    return {
        "n_turns": len(t.turn_records),
        "n_valid": sum(r.valid for r in t.turn_records),
        "n_tokens": len(t),
        "n_reasoning": int(by_kind[TokenKind.REASONING]),
        "n_action": int(by_kind[TokenKind.ACTION]),
        "n_format": int(by_kind[TokenKind.FORMAT]),
    }


def to_trajectories(table: pa.Table, file: Path) -> list[Trajectory]:
    require_columns(table.column_names, [*SCALARS, *COLUMNS], file)
    require_types(table, {**SCALARS, **COLUMNS}, file)
    columns = {name: table[name].to_pylist() for name in [*SCALARS, "texts", "turn_records"]}
    columns |= {name: _ragged(table[name]) for name in ("token_ids", "kinds", "turns", "logprobs")}
    columns["signals"] = _signals(table, file)
    columns |= _optional(table, file)
    try:
        columns["turn_records"] = [
            [Turn(**{**turn, "state": _object(turn["state"])}) for turn in turns] for turns in columns["turn_records"]
        ]
        return [Trajectory(**dict(zip(columns, row))) for row in zip(*columns.values())]
    except (TypeError, ValueError, RecursionError) as error:
        raise ActFocusError(f"{file}: a trajectory is malformed ({error})") from None


def _optional(table: pa.Table, file: Path) -> dict[str, list[Any]]:
    """The columns of OPTIONAL that are there. Raises ActFocusError for one of another type, or that is not JSON."""
    there = [name for name in OPTIONAL if name in table.column_names]
    for name in there:
        if table.schema.field(name).type != OPTIONAL[name]:
            raise ActFocusError(
                f"{file}: column {name!r} is {table.schema.field(name).type}; it must be {OPTIONAL[name]}"
            )
    found = {name: [value or "" for value in table[name].to_pylist()] for name in there}
    if "columns" in found:
        try:
            found["columns"] = [json.loads(text or "{}") for text in found["columns"]]
        except (ValueError, RecursionError) as error:
            raise ActFocusError(f"{file}: column 'columns' is not JSON ({error})") from None
    return found


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("the state of a turn is not an object")
    return value


def annotate(trajectories: list[Trajectory], table: pa.Table, file: Path, name: str) -> None:
    """Add what an annotation holds to its trajectories, by id."""
    require_columns(
        table.column_names, ["id", *(SIGNAL_PREFIX + signal for signal in ANNOTATIONS.get(name, ()))], file, name
    )
    require_types(table, {"id": pa.string()}, file)
    rows = dict(zip(table["id"].to_pylist(), range(table.num_rows)))
    signals = _signals(table, file)
    stray = next((s for row in signals for s in row if not holds(name, s)), None)
    if stray:
        raise ActFocusError(
            f"{file}: holds {stray!r}, which is no part of {name}; {how_to_write_again(name)} writes it again"
        )
    for t in trajectories:
        if t.id not in rows:
            raise ActFocusError(
                f"{file}: trajectory {t.id!r} is not annotated here; {how_to_write_again(name)} writes the annotation again"
            )
        row = rows[t.id]
        t.signals |= signals[row]
        for signal, values in signals[row].items():
            if len(values) != len(t):
                raise ActFocusError(f"{file}: {signal} of {t.id!r} has {len(values)} values for {len(t)} tokens")
    add_alternatives(trajectories, table, [rows[t.id] for t in trajectories], file)


def add_alternatives(trajectories: list[Trajectory], table: pa.Table, rows: Iterable[int], file: Path) -> None:
    """The reference's likeliest next tokens, where the table has them."""
    if not ALTERNATIVES.keys() <= set(table.column_names):
        return
    for name, kind in ALTERNATIVES.items():
        if table.schema.field(name).type != kind:
            raise ActFocusError(f"{file}: column {name!r} is {table.schema.field(name).type}; it must be {kind}")
    ids, logprobs = _ragged(table["top_ids"]), _ragged(table["top_logprobs"])
    for t, row in zip(trajectories, rows):
        top, likely = ids[row], logprobs[row]
        if top is not None:
            k, texts = len(top) // max(len(t), 1), table["top_texts"][row].as_py()
            if (
                likely is None
                or texts is None
                or not len(top) == len(likely) == k * len(t)
                or len(texts) != len(t)
                or any(some is None or None in some for some in texts)
            ):
                raise ActFocusError(
                    f"{file}: the alternatives of {t.id!r} must be k ids, log-probs and texts for each of its {len(t)} tokens"
                )
            t.alternatives = Alternatives(top.reshape(len(t), k), likely.reshape(len(t), k), texts)


def _signals(table: pa.Table, file: Path) -> list[dict[str, np.ndarray]]:
    """The signals of every row. Raises ActFocusError for a column that is not lists of numbers."""
    rows: list[dict[str, np.ndarray]] = [{} for _ in range(table.num_rows)]
    for name in table.column_names:
        if name.startswith(SIGNAL_PREFIX):
            kind = table.schema.field(name).type
            if not (pa.types.is_list(kind) and pa.types.is_floating(kind.value_type)):
                raise ActFocusError(f"{file}: column {name!r} is {kind}; a signal is a list of float a trajectory")
            for row, values in zip(rows, _ragged(table[name])):
                if values is not None:
                    row[name.removeprefix(SIGNAL_PREFIX)] = values
    return rows


def _ragged(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    """A list column as one NumPy array a row, without a Python object a number."""
    rows: list[np.ndarray | None] = []
    for chunk in column.chunks:
        flat = chunk.values.to_numpy(zero_copy_only=False)
        offsets, valid = chunk.offsets.to_numpy(), chunk.is_valid().to_numpy(zero_copy_only=False)
        rows += [flat[a:b] if ok else None for a, b, ok in zip(offsets, offsets[1:], valid)]
    return rows


def require_columns(present: list[str], wanted: list[str], file: Path, annotation: str | None = None) -> None:
    missing = [name for name in wanted if name not in present]
    if missing and annotation is not None:
        raise ActFocusError(
            f"{file}: no column {missing[0]!r}; {how_to_write_again(annotation)} writes the annotation again"
        )
    if missing:
        raise ActFocusError(
            f"{file}: no column {missing[0]!r}; a trajectory file has {', '.join([*SCALARS, *COLUMNS])}"
        )


def require_types(table: pa.Table, kinds: dict[str, pa.DataType], file: Path) -> None:
    """Raises ActFocusError for a column of another type, or with a value that is missing."""
    for name, kind in kinds.items():
        found = table.schema.field(name).type
        if found != kind:
            raise ActFocusError(f"{file}: column {name!r} is {found}; it must be {kind}")
        if any(map(_lacks, table[name].chunks)):
            raise ActFocusError(
                f"{file}: column {name!r} lacks a value; every trajectory has one, and every token of it"
            )


def _lacks(array: pa.Array) -> bool:
    """Whether a value is null, also inside of lists and structures."""
    if array.null_count:
        return True
    if pa.types.is_list(array.type):
        return _lacks(array.flatten())
    return pa.types.is_struct(array.type) and any(map(_lacks, array.flatten()))
