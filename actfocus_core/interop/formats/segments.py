"""The fields of schema 2 in ActFocus's own formats: objects in a line of JSON, columns in a row of Parquet."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from actfocus_core.interop.sources import Record, check_text, is_deep
from actfocus_core.runs.schema import RECORDED_PREFIX
from actfocus_core.trajectory import Component, Parent, Trajectory

_TEXTS = ("rollout_id", "agent", "error", "stop_reason")
INT32 = 2**31 - 1


def segment_record(t: Trajectory) -> dict[str, Any]:
    """The fields that are not their default, as JSON; NaN is null."""
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
    """Field of ``Trajectory`` -> its value; what is absent has its default. Raises ActFocusError for one of a wrong type."""
    fields: dict[str, Any] = {name: record.text(name, "") for name in _TEXTS}
    fields |= {"segment": record.integer("segment", 0), "trainable": record.flag("trainable", True)}
    parent = record.record("parent", None)
    if parent is not None:
        fields["parent"] = Parent(parent.integer("segment"), parent.integer("token"))
    if "in_loss" in record:
        fields["in_loss"] = record.mask("in_loss", length)
    if "policy_version" in record:
        versions = record.items("policy_version", {int}, "whole numbers", length)
        fields["policy_version"] = record.within("policy_version", versions, -1, INT32)
    return fields | {"recorded": _recorded(record, length), "rewards": _rewards(record)}


def turn_column(record: Record, field: str, turns: int) -> list[Any]:
    """``messages``, ``tools`` or ``calls`` of every turn: in the turns of a line, in a column of JSON texts of a row."""
    name = f"turn_{field}"
    if name not in record:
        given = [turn.value.get(field) for turn in record.records("turn_records")]
    else:
        texts = record.items(name, {str, type(None)}, "texts of JSON")
        if len(texts) != turns:
            raise record.error(repr(name), f"has {len(texts)} values; it must have {turns}, one a turn")
        try:
            given = [None if text is None else json.loads(text) for text in texts]
        except (ValueError, RecursionError):
            raise record.error(repr(name), "is not JSON") from None
    if is_deep(given):
        raise record.error(repr(field), "of a turn is nested too deep; it must be flat JSON")
    try:
        check_text(json.dumps(given, ensure_ascii=False, allow_nan=False), f"{record.where}: {field!r} of a turn")
    except ValueError:
        raise record.error(repr(field), "of a turn holds a number that is not finite; it must be JSON") from None
    return given


def finite_or_null(values: np.ndarray) -> list[float | None]:
    """The values as JSON holds them: null where one is not finite."""
    # Through Python's float: JSON writes as many digits as bring a float32 back exactly.
    return [value if np.isfinite(value) else None for value in values.tolist()]


def _recorded(record: Record, length: int) -> dict[str, np.ndarray]:
    columns = [name for name in record.value if name.startswith(RECORDED_PREFIX) and name in record]
    found = {name.removeprefix(RECORDED_PREFIX): record.floats(name, length) for name in columns}
    given = record.record("recorded", Record({}, record.where))
    return found | {name: given.floats(name, length) for name in given.value if name in given}


def _rewards(record: Record) -> dict[str, Component]:
    """Name -> {score, weight} in a line; in a row a list of {name, score, weight}."""
    if isinstance(record.value.get("rewards"), list):
        components = {part.text("name"): part for part in record.records("rewards")}
    else:
        given = record.record("rewards", Record({}, record.where))
        components = {check_text(name, given.where): given.record(name) for name in given.value}
    nan = float("nan")
    return {name: Component(part.number("score", nan), part.number("weight", nan)) for name, part in components.items()}
