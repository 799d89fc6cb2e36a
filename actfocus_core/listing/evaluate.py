"""Evaluation of a condition of ``where.py`` on Arrow columns."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from actfocus_core.listing.where import (
    TEXTS,
    Compare,
    Condition,
    Find,
    In,
    IsTrue,
    Joined,
    Known,
    Literal,
    Name,
    Not,
    Truth,
)

_COMPARE = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


class Evaluation:
    """Evaluates conditions on the columns of a table.

    ``found(kind, text, regex)``: bool [rows], whether the tokens of a kind (None: all) have a text in them.
    """

    def __init__(self, table: pa.Table, found: Callable[[str | None, str, bool], Any]):
        self._table, self._found = table, found

    def of(self, condition: Condition) -> pa.ChunkedArray | pa.Array:
        """bool [rows], null where the condition is unknown."""
        match condition:
            case Not(inner):
                return pc.invert(self.of(inner))
            case Joined(parts, any_):
                return reduce(pc.or_kleene if any_ else pc.and_kleene, map(self.of, parts))
            case Truth(value):
                return self._values(value)
            case Compare(sign, left, right):
                return self._compare(sign, left, right)
            case In(name, values):
                column = self._values(name)
                inside = pc.is_in(column, value_set=_set(values, column.type))
                return pc.if_else(pc.is_valid(column), inside, None)
            case Known(name):
                return pc.is_valid(self._values(name))
            case IsTrue(name, value):
                return pc.fill_null(pc.equal(self._values(name), value), False)
            case Find(name, text, regex):
                if name.name in TEXTS and name.name not in self._table.column_names:
                    return pa.array(self._found(None if name.name == "text" else name.name, text, regex))
                return (pc.match_substring_regex if regex else pc.match_substring)(self._values(name), text)
        raise AssertionError(condition)

    def _compare(self, sign: str, left: Name | Literal, right: Name | Literal) -> Any:
        compared = _COMPARE[sign](self._values(left), self._values(right))
        if isinstance(compared, pa.Scalar):
            return pa.repeat(compared, self._table.num_rows)
        return compared

    def _values(self, operand: Name | Literal) -> Any:
        if isinstance(operand, Name):
            return self._table[operand.name]
        scalar = pa.scalar(operand.value)
        return pa.repeat(scalar, self._table.num_rows) if operand.kind == "truth" else scalar


def _set(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    """The values of ``in`` in the type of the column; numbers that a whole number cannot equal are left out."""
    if pa.types.is_integer(kind):
        values = tuple(int(value) for value in values if float(value).is_integer() and abs(value) < 1 << 62)
    return pa.array(values, kind)
