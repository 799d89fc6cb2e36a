"""Trajectories as tables of Parquet, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actfocus_core.errors import ActFocusError
from actfocus_core.runs.arrays import float_columns, lacks, ragged
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
        [[_turn_row(turn) for turn in t.turn_records] for t in trajectories],
        COLUMNS["turn_records"],
    )
    own = sorted({s for t in trajectories for s in t.signals if not s.startswith(REFERENCE_PREFIX)})
    return pa.table(columns | optional_columns(trajectories) | _signal_columns(trajectories, own))


def _turn_row(turn: Turn) -> dict[str, Any]:
    row = {name: value for name, value in vars(turn).items() if name not in TURN_FIELDS}
    return row | {"state": json.dumps(turn.state)}


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
    columns |= {name: ragged(table[name]) for name in ("token_ids", "kinds", "turns", "logprobs")}
    columns["signals"] = _signals(table, file)
    columns |= optional_values(table, file)
    more = turn_values(table, [len(turns) for turns in columns["turn_records"]], file)
    try:
        columns["turn_records"] = [
            [Turn(**{**turn, "state": _object(turn["state"])}, **rest) for turn, rest in zip(turns, own)]
            for turns, own in zip(columns["turn_records"], more)
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
    ids, logprobs = ragged(table["top_ids"]), ragged(table["top_logprobs"])
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
    return float_columns(table, SIGNAL_PREFIX, "a signal", file)


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
    """Raises ActFocusError for a column of another type, or with a value that is missing and not of NULLABLE."""
    for name, kind in kinds.items():
        found = table.schema.field(name).type
        if found != kind:
            raise ActFocusError(f"{file}: column {name!r} is {found}; it must be {kind}")
        if name not in NULLABLE and any(map(lacks, table[name].chunks)):
            raise ActFocusError(
                f"{file}: column {name!r} lacks a value; every trajectory has one, and every token of it"
            )
