"""The fields of schema 2 in ActFocus's own formats: JSON objects in a line, columns in a row of Parquet."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from actfocus_core.interop.reading import Record, check_text, is_deep
from actfocus_core.runs.schema import RECORDED_PREFIX
from actfocus_core.trajectory import Component, Parent, Trajectory

_TEXTS = ("rollout_id", "agent", "error", "stop_reason")
INT32 = 2**31 - 1


def segment_record(t: Trajectory) -> dict[str, Any]:
    """The fields that differ from their defaults, as JSON; NaN is null."""
    record: dict[str, Any] = {name: value for name in ("columns", *_TEXTS, "segment") if (value := getattr(t, name))}
    if t.parent is not None:
        record["parent"] = t.parent._asdict()
    if not t.trainable:
        record["trainable"] = False
    record |= {name: v.tolist() for name in ("in_loss", "policy_version") if (v := getattr(t, name)) is not None}
    if t.recorded:
        record["recorded"] = {name: finite_or_null(values) for name, values in t.recorded.items()}
    if t.rewards:
        record["rewards"] = {
            name: dict(zip(("score", "weight"), finite_or_null(np.array(c)))) for name, c in t.rewards.items()
        }
    return record


def segment_fields(record: Record, length: int) -> dict[str, Any]:
    """Field of ``Trajectory`` -> value, its default if absent. Raises ActFocusError for a value of the wrong type."""
    fields: dict[str, Any] = {name: record.text(name, "") for name in _TEXTS}
    fields |= {"segment": record.integer("segment", 0), "trainable": record.flag("trainable", True)}
    parent = record.record("parent", None)
    if parent is not None:
        fields["parent"] = Parent(parent.integer("segment"), parent.integer("token"))
    if "in_loss" in record:
        fields["in_loss"] = record.mask("in_loss", length)
    if "policy_version" in record:
        versions = record.items("policy_version", {int}, "integers", length)
        fields["policy_version"] = record.within("policy_version", versions, -1, INT32)
    return fields | {"recorded": _recorded(record, length), "rewards": _rewards(record)}


def turn_column(record: Record, field: str, turns: int) -> list[Any]:
    """``messages``, ``tools`` or ``calls`` of every turn, from the turns of a line or from a row's column of JSON strings."""
    name = f"turn_{field}"
    if name not in record:
        values = [turn.value.get(field) for turn in record.records("turn_records")]
    else:
        texts = record.items(name, {str, type(None)}, "JSON strings")
        if len(texts) != turns:
            raise record.error(repr(name), f"has {len(texts)} values; it must have {turns}, one per turn")
        try:
            values = [None if text is None else json.loads(text) for text in texts]
        except (ValueError, RecursionError):
            raise record.error(repr(name), "is not JSON; it must be a list of JSON strings") from None
    if is_deep(values):
        raise record.error(repr(field), "of a turn is nested too deep; it must be flat JSON")
    try:
        check_text(json.dumps(values, ensure_ascii=False, allow_nan=False), f"{record.where}: {field!r} of a turn")
    except ValueError:
        raise record.error(repr(field), "of a turn contains a number that is not finite; it must be JSON") from None
    return values


def finite_or_null(values: np.ndarray) -> list[float | None]:
    """The values for JSON, with null where a value is not finite."""
    # Python's float prints enough digits to restore a float32 exactly.
    return [value if np.isfinite(value) else None for value in values.tolist()]


def _recorded(record: Record, length: int) -> dict[str, np.ndarray]:
    columns = [name for name in record.value if name.startswith(RECORDED_PREFIX) and name in record]
    from_columns = {name.removeprefix(RECORDED_PREFIX): record.floats(name, length) for name in columns}
    field = record.record("recorded", Record({}, record.where))
    return from_columns | {name: field.floats(name, length) for name in field.value if name in field}


def _rewards(record: Record) -> dict[str, Component]:
    """From name -> {score, weight} in a line, or a list of {name, score, weight} in a row."""
    if isinstance(record.value.get("rewards"), list):
        components = {part.text("name"): part for part in record.records("rewards")}
    else:
        field = record.record("rewards", Record({}, record.where))
        components = {check_text(name, field.where): field.record(name) for name in field.value}
    nan = float("nan")
    return {name: Component(part.number("score", nan), part.number("weight", nan)) for name, part in components.items()}
