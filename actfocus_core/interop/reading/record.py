"""``Record``: one JSON object or table row, with getters that report missing and invalid fields."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from actfocus_core.errors import ActFocusError

NESTING_MAX = 100
"""Maximum nesting of lists and objects in a record; later readers have less of the stack left than the parser."""
_REQUIRED: Any = object()
D = TypeVar("D")
"""The default that a getter returns for a missing field."""


@dataclass(frozen=True)
class Record:
    """One JSON object or table row with its location.

    Getters raise ActFocusError for a missing field without a default and for an invalid value.
    """

    value: dict[str, Any]
    where: str
    """Its location, for instance ``FILE, line 3``"""
    from_table: bool = False
    """Whether it is from a table, in which Arrow gives every object all keys of the column, null where they were absent"""

    def __contains__(self, name: str) -> bool:
        return self.value.get(name) is not None

    def error(self, field: str, what: str) -> ActFocusError:
        return ActFocusError(f"{self.where}: {field} {what}")

    def get(self, name: str, kinds: type | tuple[type, ...], what: str, default: object = _REQUIRED) -> Any:
        """The field if it is an instance of ``kinds``; ``what`` describes a valid value."""
        value = self.value.get(name)
        if value is None:
            if default is _REQUIRED:
                raise self.error(repr(name), f"is missing; it must be {what}")
            return default
        allowed = kinds if isinstance(kinds, tuple) else (kinds,)
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise self.error(repr(name), f"is {shown(value)}; it must be {what}")
        return value

    def text(self, name: str, default: D = _REQUIRED) -> str | D:
        value: str | D = self.get(name, str, "a string", default)
        return check_text(value, f"{self.where}: {name!r}") if isinstance(value, str) else value

    def key(self, name: str, default: D = _REQUIRED) -> str | D:
        """A string, or an integer as a string."""
        value = self.get(name, (str, int), "a string or an integer", default)
        return default if value is default else check_text(str(value), f"{self.where}: {name!r}")

    def number(self, name: str, default: D = _REQUIRED) -> float | D:
        value = self.get(name, (int, float), "a number", default)
        try:
            return default if value is default else float(value)
        except OverflowError:
            raise self.error(repr(name), "is too large a number; it must fit in a float64") from None

    def integer(self, name: str, default: D = _REQUIRED, low: int = 0, high: int = 2**31 - 1) -> int | D:
        value: int | D = self.get(name, int, "an integer", default)
        if value is not default and isinstance(value, int) and not low <= value <= high:
            raise self.error(repr(name), f"is {shown(value)}; it must be in [{low}, {high}]")
        return value

    def flag(self, name: str, default: D = _REQUIRED) -> bool | D:
        value: bool | D = self.get(name, bool, "true or false", default)
        return value

    def record(self, name: str, default: D = _REQUIRED) -> Record | D:
        value = self.get(name, dict, "an object", default)
        return default if value is default else Record(value, f"{self.where}: {name!r}", self.from_table)

    def records(self, name: str) -> list[Record]:
        items = self.get(name, list, "a list of objects")
        for number, item in enumerate(items):
            if not isinstance(item, dict):
                raise self.error(f"{name!r}[{number}]", f"is {shown(item)}; it must be an object")
        return [Record(item, f"{self.where}: {name!r}[{number}]", self.from_table) for number, item in enumerate(items)]

    def ids(self, name: str) -> np.ndarray:
        """int32 [n], token ids."""
        values = self.items(name, {int}, "integers")
        return self.within(name, values, 0, 2**31 - 1).astype(np.int32)

    def mask(self, name: str, length: int) -> np.ndarray:
        """bool [length], from booleans or zeros and ones."""
        values = self.items(name, {bool, int, float}, "zeros and ones", length)
        return self.within(name, values, 0, 1, {0, 1}).astype(bool)

    def floats(self, name: str, length: int) -> np.ndarray:
        """float32 [length], NaN for null."""
        values = self.items(name, {int, float, type(None)}, "numbers", length)
        try:
            with np.errstate(over="ignore"):
                return np.array(values, np.float64).astype(np.float32)
        except OverflowError:
            raise self.error(repr(name), "contains too large a number; it must fit in a float32") from None

    def flags(self, name: str, length: int | None = None) -> np.ndarray:
        """float32 [length], 1 for true, 0 for false and NaN for null."""
        values = self.items(name, {bool, type(None)}, "true, false or null", length)
        return np.array([np.nan if value is None else float(value) for value in values], np.float32)

    def items(self, name: str, kinds: set[type], what: str, length: int | None = None) -> list[Any]:
        """A list whose items are of exactly these types; ``length``: the required number of items, one per token."""
        field = self.get(name, (list, np.ndarray), f"a list of {what}")
        values: list[Any] = field.tolist() if isinstance(field, np.ndarray) else field
        if not set(map(type, values)) <= kinds:
            wrong = next(i for i, v in enumerate(values) if type(v) not in kinds)
            raise self.error(f"{name!r}[{wrong}]", f"is {shown(values[wrong])}; the list must contain {what}")
        if length is not None and len(values) != length:
            raise self.error(repr(name), f"has {len(values)} values; it must have {length}, one per token")
        return values

    def within(self, name: str, values: list[Any], low: int, high: int, allowed: set[int] | None = None) -> np.ndarray:
        """The values as int64 [n]. Raises ActFocusError unless all are in [low, high] and in ``allowed`` if given."""
        if values and not (low <= min(values) and max(values) <= high and (not allowed or set(values) <= allowed)):
            wrong = next(i for i, v in enumerate(values) if not low <= v <= high or (allowed and v not in allowed))
            raise self.error(f"{name!r}[{wrong}]", f"is {shown(values[wrong])}; it must be in [{low}, {high}]")
        return np.array(values, np.int64)


def check_text(text: str, where: str) -> str:
    """Return the text. Raises ActFocusError for an unpaired surrogate, which UTF-8 cannot encode."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ActFocusError(f"{where} contains half of a surrogate pair; it must be valid UTF-8 text") from None
    return text


def shown(value: object) -> str:
    """A value as an error message quotes it: short, on one line."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) > 1 << 64:
        return "a number of more than 64 bits"
    text = json.dumps(value, default=repr)
    return text if len(text) <= 40 else f"{text[:37]}..."


def is_deep(value: object) -> bool:
    """Whether lists and objects are nested more than NESTING_MAX levels deep."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(NESTING_MAX):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True
