"""The optional columns of a trajectory file: written if any trajectory has a value, validated when read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from actfocus_core.errors import ActFocusError
from actfocus_core.runs.arrays import float_columns, has_null, ragged
from actfocus_core.runs.schema import OPTIONAL, RECORDED_PREFIX, TURN_FIELDS
from actfocus_core.trajectory import Component, Parent, Trajectory

# --- writing -----------------------------------------------------------------------------------


def optional_columns(trajectories: list[Trajectory]) -> dict[str, pa.Array]:
    """The columns of OPTIONAL that any trajectory uses, and the recorded streams; null means the default.

    Raises ActFocusError if the messages, tools or calls of a turn are not JSON.
    """
    columns = {}
    for name, kind in OPTIONAL.items():
        values = [_WRITERS[name](t) for t in trajectories]
        if any(value is not None for value in values):
            columns[name] = pa.array(values, kind)
    for name in sorted({name for t in trajectories for name in t.recorded}):
        columns[RECORDED_PREFIX + name] = pa.array([t.recorded.get(name) for t in trajectories], pa.list_(pa.float32()))
    return columns


def _turn_texts(field: str) -> Callable[[Trajectory], list[str | None] | None]:
    def write(t: Trajectory) -> list[str | None] | None:
        values = [getattr(turn, field) for turn in t.turn_records]
        try:
            texts = [None if value is None else json.dumps(value, allow_nan=False) for value in values]
        except (TypeError, ValueError, RecursionError) as error:
            raise ActFocusError(f"trajectory {t.id}: {field} of a turn must be JSON ({error})") from None
        return texts if any(text is not None for text in texts) else None

    return write


_WRITERS: dict[str, Callable[[Trajectory], Any]] = {
    "columns": lambda t: json.dumps(t.columns) if t.columns else None,
    "rollout_id": lambda t: t.rollout_id or None,
    "segment": lambda t: t.segment or None,
    "parent": lambda t: t.parent and t.parent._asdict(),
    "agent": lambda t: t.agent or None,
    "trainable": lambda t: None if t.trainable else False,
    "in_loss": lambda t: t.in_loss,
    "policy_version": lambda t: t.policy_version,
    "rewards": lambda t: [{"name": name, **c._asdict()} for name, c in t.rewards.items()] or None,
    "error": lambda t: t.error or None,
    "stop_reason": lambda t: t.stop_reason or None,
    **{f"turn_{field}": _turn_texts(field) for field in TURN_FIELDS},
}
"""Column -> the stored value of a trajectory; None for the default."""

# --- reading -----------------------------------------------------------------------------------


def optional_values(table: pa.Table, file: Path) -> dict[str, list[Any]]:
    """Field of ``Trajectory`` -> its values by row, for ``recorded`` and the columns of OPTIONAL that are present.

    Raises ActFocusError, with file and column, for a wrong type or an invalid value.
    """
    fields: dict[str, list[Any]] = {"recorded": float_columns(table, RECORDED_PREFIX, "a recorded stream", file)}
    for name in OPTIONAL:
        if name not in table.column_names:
            continue
        require_optional(table, name, file)
        if name.removeprefix("turn_") in TURN_FIELDS:
            continue
        if any(_has_inner_null(chunk) for chunk in table[name].chunks):
            raise ActFocusError(f"{file}: column {name!r} has a null inside a value; only whole values may be null")
        try:
            fields[name] = _READERS[name](table[name])
        except (json.JSONDecodeError, RecursionError) as error:
            raise ActFocusError(f"{file}: column {name!r} is not JSON ({error})") from None
        except (TypeError, ValueError) as error:
            raise ActFocusError(f"{file}: column {name!r} is damaged ({error})") from None
    return fields


def require_optional(table: pa.Table, name: str, file: Path) -> None:
    """Raise ActFocusError if a column of OPTIONAL has the wrong type."""
    kind = table.schema.field(name).type
    if kind != OPTIONAL[name]:
        raise ActFocusError(f"{file}: column {name!r} is {kind}; it must be {OPTIONAL[name]}")


def turn_values(table: pa.Table, turns: list[int], file: Path) -> list[list[dict[str, Any]]]:
    """The ``messages``, ``tools`` and ``calls`` of every turn of every row; ``turns``: number of turns by row.

    Raises ActFocusError, with file and column, for invalid JSON, or if the number of values is not that of the turns.
    """
    rows: list[list[dict[str, Any]]] = [[{} for _ in range(count)] for count in turns]
    for field in TURN_FIELDS:
        name = f"turn_{field}"
        if name not in table.column_names:
            continue
        for row, texts in zip(rows, table[name].to_pylist()):
            if texts is not None and len(texts) != len(row):
                raise ActFocusError(f"{file}: column {name!r} has {len(texts)} values for {len(row)} turns")
            for turn, text in zip(row, texts or ()):
                if text is not None:
                    turn[field] = _json(text, f"{file}: column {name!r}")
    return rows


def _json(text: str, where: str) -> Any:
    try:
        value = json.loads(text)
        # An escaped lone surrogate can be parsed, but not encoded again.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise ActFocusError(f"{where} is not JSON ({error})") from None
    return value


def _has_inner_null(array: pa.Array) -> bool:
    """Whether a value that is not null contains a null."""
    if pa.types.is_list(array.type):
        return has_null(array.flatten())
    return pa.types.is_struct(array.type) and any(map(has_null, array.drop_null().flatten()))


def _rewards(column: pa.ChunkedArray) -> list[dict[str, Component]]:
    rows = []
    for components in column.to_pylist():
        row = {c["name"]: Component(c["score"], c["weight"]) for c in components or ()}
        if len(row) != len(components or ()):
            raise ValueError("two components have one name")
        rows.append(row)
    return rows


def _or(default: Any) -> Callable[[pa.ChunkedArray], list[Any]]:
    """A reader that replaces null by a default."""
    return lambda column: [default if value is None else value for value in column.to_pylist()]


_READERS: dict[str, Callable[[pa.ChunkedArray], list[Any]]] = {
    "columns": lambda column: [json.loads(text or "{}") for text in column.to_pylist()],
    "rollout_id": _or(""),
    "segment": _or(0),
    "parent": lambda column: [value and Parent(**value) for value in column.to_pylist()],
    "agent": _or(""),
    "trainable": _or(True),
    "in_loss": ragged,
    "policy_version": ragged,
    "rewards": _rewards,
    "error": _or(""),
    "stop_reason": _or(""),
}
