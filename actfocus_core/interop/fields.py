"""Fields that many formats share: rewards, outcomes, and the columns that remain."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any

from actfocus_core.interop.reading import Record, check_text, is_deep
from actfocus_core.trajectory import Component

NAN = float("nan")
_TRUE, _FALSE = {"true", "yes", "1", "1.0"}, {"false", "no", "0", "0.0"}


def truth(value: Any) -> bool | None:
    """A recorded outcome as True or False: a boolean, 0 or 1, or either as text, as ``json.dumps(..., default=str)`` writes
    NumPy's. None for anything else, also for a number between 0 and 1, which is a rate and no outcome."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, (int, float, str)) else ""
    return True if text in _TRUE else False if text in _FALSE else None


def success_of(record: Record, names: Collection[str]) -> bool | None:
    """The first of these fields that states an outcome."""
    return next((outcome for name in names if (outcome := truth(record.value.get(name))) is not None), None)


def number(record: Record, name: str, default: float = NAN) -> float:
    """A number that may be written as text. Raises ActFocusError for another value."""
    value = record.value.get(name)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    return record.number(name, default)


def components(record: Record, name: str) -> dict[str, Component]:
    """The scored components of a reward: an object of numbers, or of ``{"score", "weight"}``.

    Raises ActFocusError for anything else, since the reward is the sum of all of them.
    """
    field = record.record(name, Record({}, record.where))
    found = {}
    for key, value in field.value.items():
        check_text(key, f"{field.where}: a name")
        if isinstance(value, dict):
            part = field.record(key)
            if "score" not in value:
                raise part.error("'score'", 'is missing; a component is a number or {"score", "weight"}')
            if "score" in part:
                found[key] = Component(part.number("score"), part.number("weight", 1.0))
        elif value is not None:
            found[key] = Component(number(field, key))
    return found


def total(parts: dict[str, Component]) -> float:
    """The weighted sum; NaN if nothing was scored."""
    return float(sum(part.score * part.weight for part in parts.values())) if parts else NAN


def scalars(record: Record, known: Collection[str]) -> dict[str, str | bool | int | float | None]:
    """The other fields of the record that hold text, booleans or finite numbers, for ``Trajectory.columns``."""
    columns = {
        name: value
        for name, value in record.value.items()
        if name not in known
        and (type(value) in (str, bool, int) or (type(value) is float and math.isfinite(value)))
        and not (isinstance(value, str) and len(value) > LONGEST_COLUMN)
    }
    check_text("".join([*columns, *(value for value in columns.values() if isinstance(value, str))]), record.where)
    return columns


def decoded(record: Record, *names: str) -> Record:
    """The record with these fields decoded, which may be written as strings of JSON. Raises ActFocusError for a string that
    is not JSON."""
    values = {name: record.value.get(name) for name in names}
    for name, value in values.items():
        if isinstance(value, (str, bytes)):
            try:
                values[name] = json.loads(value)
            except (ValueError, RecursionError):
                raise record.error(
                    repr(name), "is not JSON; it must be an object or a list, or JSON text of one"
                ) from None
            if is_deep(values[name]):
                raise record.error(repr(name), "is nested too deep; it must be flat JSON")
    # The keys of decoded objects are those that were written, also where they are null.
    return Record(record.value | values, record.where)


def error_text(record: Record) -> str:
    """What the record says went wrong; empty if nothing did."""
    return described(record.value.get("error"))


def described(error: Any) -> str:
    """A recorded error in words: its message, or its type."""
    if isinstance(error, dict):
        return next((error[name] for name in ("message", "type") if isinstance(error.get(name), str)), "an error")
    return error if isinstance(error, str) else "" if error in (None, False) else "an error"


LONGEST_COLUMN = 1000
"""Characters of a text column; a longer text is a document, not a property to sort or filter by."""
