"""Conversion between trajectories and Parquet tables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actfocus_core.errors import ActFocusError
from actfocus_core.runs.arrays import float_columns, has_null, ragged
from actfocus_core.runs.optional import optional_columns, optional_values, turn_values
from actfocus_core.runs.schema import (
    ALTERNATIVES,
    ANNOTATIONS,
    COLUMNS,
    COUNTS,
    NULLABLE,
    REFERENCE_PREFIX,
    SCALARS,
    SIGNAL_PREFIX,
    TURN_FIELDS,
    holds,
    rewrite_command,
)
from actfocus_core.trajectory import Alternatives, TokenKind, Trajectory, Turn


def facts_table(trajectories: list[Trajectory]) -> pa.Table:
    """The trajectories with all signals except those of reference models."""
    columns = {name: pa.array([getattr(t, name) for t in trajectories], kind) for name, kind in SCALARS.items()}
    counts = [_counts(t) for t in trajectories]
    columns |= {name: pa.array([c[name] for c in counts], kind) for name, kind in COUNTS.items()}
    columns |= {
        name: pa.array([getattr(t, name) for t in trajectories], kind)
        for name, kind in COLUMNS.items()
        if name != "turn_records"
    }
    columns["turn_records"] = pa.array(
        [[_turn_row(turn) for turn in t.turn_records] for t in trajectories],
        COLUMNS["turn_records"],
    )
    signals = sorted({s for t in trajectories for s in t.signals if not s.startswith(REFERENCE_PREFIX)})
    return pa.table(columns | optional_columns(trajectories) | _signal_columns(trajectories, signals))


def _turn_row(turn: Turn) -> dict[str, Any]:
    row = {name: value for name, value in vars(turn).items() if name not in TURN_FIELDS}
    return row | {"state": json.dumps(turn.state)}


def annotation_table(trajectories: list[Trajectory], name: str) -> pa.Table:
    """The signals of an annotation by trajectory id, and the alternatives if it is that of a reference model."""
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


def to_trajectories(table: pa.Table, file: Path, texts: bool = True) -> list[Trajectory]:
    """The trajectories of a table; without ``texts`` their tokens have empty texts, and the column is not needed.

    Raises ActFocusError, naming ``file``, for missing columns or invalid values.
    """
    kinds = {name: kind for name, kind in {**SCALARS, **COLUMNS}.items() if texts or name != "texts"}
    require_columns(table.column_names, list(kinds), file)
    require_types(table, kinds, file)
    columns = {name: table[name].to_pylist() for name in [*SCALARS, "turn_records"]}
    if texts:
        columns["texts"] = table["texts"].to_pylist()
    else:
        columns["texts"] = [[""] * count for count in pc.list_value_length(table["token_ids"]).to_pylist()]
    columns |= {name: ragged(table[name]) for name in ("token_ids", "kinds", "turns", "logprobs")}
    columns["signals"] = _signals(table, file)
    columns |= optional_values(table, file)
    optional = turn_values(table, [len(turns) for turns in columns["turn_records"]], file)
    try:
        columns["turn_records"] = [
            [Turn(**{**turn, "state": _object(turn["state"])}, **fields) for turn, fields in zip(turns, turn_fields)]
            for turns, turn_fields in zip(columns["turn_records"], optional)
        ]
        return [Trajectory(**dict(zip(columns, row))) for row in zip(*columns.values())]
    except (TypeError, ValueError, RecursionError) as error:
        raise ActFocusError(f"{file}: a trajectory is malformed ({error})") from None
    except ActFocusError as error:
        raise ActFocusError(f"{file}: {error}") from None


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("the state of a turn is not an object")
    return value


def annotate(trajectories: list[Trajectory], table: pa.Table, file: Path, name: str) -> None:
    """Add the signals of an annotation to its trajectories, matched by id. Raises ActFocusError if they do not fit."""
    require_columns(
        table.column_names, ["id", *(SIGNAL_PREFIX + signal for signal in ANNOTATIONS.get(name, ()))], file, name
    )
    require_types(table, {"id": pa.string()}, file)
    rows = dict(zip(table["id"].to_pylist(), range(table.num_rows)))
    signals = _signals(table, file)
    stray = next((s for row in signals for s in row if not holds(name, s)), None)
    if stray:
        raise ActFocusError(
            f"{file}: contains {stray!r}, which is not a signal of {name}; {rewrite_command(name)} computes it again"
        )
    for t in trajectories:
        if t.id not in rows:
            raise ActFocusError(
                f"{file}: has no row for trajectory {t.id!r}; {rewrite_command(name)} computes the annotation again"
            )
        row = rows[t.id]
        t.signals |= signals[row]
        for signal, values in signals[row].items():
            if len(values) != len(t):
                raise ActFocusError(f"{file}: {signal} of {t.id!r} has {len(values)} values for {len(t)} tokens")
    add_alternatives(trajectories, table, [rows[t.id] for t in trajectories], file)


def add_alternatives(trajectories: list[Trajectory], table: pa.Table, rows: Iterable[int], file: Path) -> None:
    """Add the most likely tokens of the reference model, if the table has them."""
    if not ALTERNATIVES.keys() <= set(table.column_names):
        return
    for name, kind in ALTERNATIVES.items():
        if table.schema.field(name).type != kind:
            raise ActFocusError(f"{file}: column {name!r} is {table.schema.field(name).type}; it must be {kind}")
    ids, logprobs = ragged(table["top_ids"]), ragged(table["top_logprobs"])
    for t, row in zip(trajectories, rows):
        top_ids, top_logprobs = ids[row], logprobs[row]
        if top_ids is not None:
            k, texts = len(top_ids) // max(len(t), 1), table["top_texts"][row].as_py()
            if (
                top_logprobs is None
                or texts is None
                or not len(top_ids) == len(top_logprobs) == k * len(t)
                or len(texts) != len(t)
                or any(at_token is None or None in at_token for at_token in texts)
            ):
                raise ActFocusError(
                    f"{file}: the alternatives of {t.id!r} must be k ids, log-probs and texts for each of its {len(t)} tokens"
                )
            t.alternatives = Alternatives(top_ids.reshape(len(t), k), top_logprobs.reshape(len(t), k), texts)


def _signals(table: pa.Table, file: Path) -> list[dict[str, np.ndarray]]:
    """The signals of every row. Raises ActFocusError for a column that is not a list of floats."""
    return float_columns(table, SIGNAL_PREFIX, "a signal", file)


def require_columns(present: list[str], required: list[str], file: Path, annotation: str | None = None) -> None:
    """Raise ActFocusError if a column is missing from a trajectory file, or from the file of an annotation."""
    missing = [name for name in required if name not in present]
    if missing and annotation is not None:
        raise ActFocusError(
            f"{file}: no column {missing[0]!r}; {rewrite_command(annotation)} computes the annotation again"
        )
    if missing:
        raise ActFocusError(
            f"{file}: no column {missing[0]!r}; a trajectory file has {', '.join([*SCALARS, *COLUMNS])}"
        )


def require_types(table: pa.Table, kinds: dict[str, pa.DataType], file: Path) -> None:
    """Raise ActFocusError for a column of the wrong type, or with a null that is not allowed (NULLABLE)."""
    for name, kind in kinds.items():
        stored = table.schema.field(name).type
        if stored != kind:
            raise ActFocusError(f"{file}: column {name!r} is {stored}; it must be {kind}")
        if name not in NULLABLE and any(map(has_null, table[name].chunks)):
            raise ActFocusError(
                f"{file}: column {name!r} has a null; every trajectory and every token must have a value"
            )
