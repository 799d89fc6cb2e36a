"""How cases are made of bytes: choices, and from them damaged files and damaged values of JSON."""

from __future__ import annotations

import copy
import struct
from contextlib import suppress

import pyarrow as pa

DEEP = "[" * 100_000
"""Nested deeper than a parser's stack."""
NUMBERS = [0, -1, 2**31, 2**63, -(2**70), 10**400, -0.0, 1e308, float("nan"), float("inf"), 1.5]
VALUES = [
    None,
    True,
    False,
    *NUMBERS,
    "",
    "x",
    "é\n",
    "\ud800",
    "\x00",
    "\x1b[2J",
    "../../etc/passwd",
    "{{x}}",
    "a" * 5000,
    [],
    [1],
    ["a"],
    [None],
    [[1, [2]]],
    [{}],
    {},
    {"a": 1},
    {"role": "user"},
    [1, "a", None, 2.5],
]
PIECES = [
    b"\xff",
    b"\x00",
    b"[[",
    b'"',
    b"\n",
    b"{}",
    b"1e999",
    b"-",
    b"NaN",
    b"\\ud800",
    b"9" * 30,
    b"\xef\xbb\xbf",
    b"\r\n",
    b"!!python/object",
]
STRANGE = [
    "é",
    "\u202e",
    "\u200b",
    "\x00",
    "\x1b[2J",
    "\u2028",
    "\x85",
    "🧊",
    "\ud83e",
    "ﷺ",
    "a\u0301",
    "\r\n",
    "\t",
    "<|im_end|>",
    "${x}",
    "{{x}}",
    "<img src=x>",
]
FAULTS = ("flip", "lose", "double", "put", "overwrite", "cut")
CHANGES = ("replace", "replace", "replace", "remove", "rename", "stretch", "swap", "wrap")


class Choices:
    """Bytes read as choices; where they are spent the first of everything is chosen."""

    def __init__(self, data: bytes):
        self._data, self._at = data, 0

    def bytes(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at].ljust(count, b"\0")

    def below(self, count: int) -> int:
        """0 .. count - 1"""
        size = 1 if count <= 256 else 3
        return int.from_bytes(self.bytes(size)) % max(count, 1)

    def pick(self, items):
        return items[self.below(len(items))]

    def some(self, most: int, make) -> list:
        """Up to so many of what ``make`` makes."""
        return [make() for _ in range(self.below(most + 1))]

    def text(self, most: int = 4) -> str:
        return "".join(self.some(most, lambda: self.pick(STRANGE) if self.below(2) else chr(33 + self.below(94))))

    def number(self) -> float | int:
        return struct.unpack("<d", self.bytes(8))[0] if self.below(2) else int.from_bytes(self.bytes(4), signed=True)

    def value(self):
        """Of JSON, mostly one that is wrong wherever it stands."""
        kind = self.below(12)
        if kind == 0:
            return {self.text(2): copy.deepcopy(self.pick(VALUES))}
        if kind == 1:
            return self.some(3, lambda: copy.deepcopy(self.pick(VALUES)))
        return self.number() if kind == 2 else self.text() if kind == 3 else copy.deepcopy(self.pick(VALUES))


def damaged_bytes(choices: Choices, original: bytes) -> bytes:
    """The file with up to three faults: bits flipped, a part lost, doubled, put in or written over, the end lost."""
    data = bytearray(original)
    for _ in range(1 + choices.below(3)):
        at, kind, length = choices.below(len(data)), choices.pick(FAULTS), 1 + choices.below(40)
        if kind == "flip" and data:
            data[at] ^= 1 << choices.below(8)
        elif kind == "lose":
            del data[at : at + length]
        elif kind == "double":
            data[at:at] = data[at : at + length]
        elif kind == "put":
            data[at:at] = choices.pick(PIECES)
        elif kind == "overwrite":
            data[at : at + length] = choices.bytes(1 + choices.below(8))
        else:
            del data[at:]
    return bytes(data)


def places(value, at=()) -> list[tuple]:
    """Every place in a nest of lists and objects; of a list the first, the middle and the last."""
    found = [at]
    if isinstance(value, dict):
        inside = list(value)
    else:
        inside = sorted({0, len(value) // 2, len(value) - 1}) if isinstance(value, list) and value else []
    for key in inside:
        found += places(value[key], (*at, key))
    return found


def damaged_value(choices: Choices, original, faults: int = 2):
    """The value with up to so many faults: one in it replaced, removed, renamed, repeated, swapped with another, or wrapped."""
    whole = [copy.deepcopy(original)]
    for _ in range(1 + choices.below(faults)):
        way = choices.pick([(0, *place) for place in places(whole[0])])
        parent = whole
        for key in way[:-1]:
            parent = parent[key]
        last, kind = way[-1], choices.pick(CHANGES)
        if kind == "remove" and len(way) > 1:
            del parent[last]
        elif kind == "rename" and isinstance(parent, dict):
            parent[choices.pick(["", "x", "\x00", str(last).upper(), "__class__"])] = parent.pop(last)
        elif kind == "stretch" and isinstance(parent[last], list):
            parent[last] = parent[last] * choices.pick([0, 2, 3])
        elif kind == "swap" and isinstance(parent, dict):
            other = choices.pick(list(parent))
            parent[last], parent[other] = parent[other], parent[last]
        elif kind == "wrap":
            parent[last] = choices.pick([[parent[last]], {"x": parent[last]}])
        else:
            parent[last] = choices.value()
    return whole[0]


TYPES = [
    pa.string(),
    pa.int64(),
    pa.float64(),
    pa.bool_(),
    pa.binary(),
    pa.null(),
    pa.list_(pa.string()),
    pa.list_(pa.int64()),
    pa.list_(pa.float64()),
    pa.large_string(),
    pa.list_(pa.list_(pa.string())),
    pa.list_(pa.struct([("observation", pa.string()), ("state", pa.string())])),
    pa.timestamp("us"),
]
CELLS = {"s": [None, "", "x", "\x00"], "i": [None, 0, -1, 9, 2**31], "f": [None, float("nan"), float("inf"), 1.0]}


def damaged_table(choices: Choices, table: pa.Table) -> pa.Table:
    """A table with a column lost, renamed, of another type, with values missing or wrong, or with rows lost."""
    for _ in range(1 + choices.below(2)):
        column, kind = (
            choices.pick(table.column_names),
            choices.pick(["lose", "type", "null", "cells", "cells", "other", "rows", "name"]),
        )
        at = table.column_names.index(column)
        if kind == "lose" and table.num_columns > 1:
            table = table.drop_columns([column])
        elif kind == "rows":
            table = table.slice(choices.below(3), choices.below(3))
        elif kind == "name":
            table = table.rename_columns([("signal:x" if n == column else n) for n in table.column_names])
        elif kind == "other":
            table = table.set_column(at, column, table[choices.pick(table.column_names)])
        elif kind == "type":
            table = table.set_column(at, column, pa.nulls(table.num_rows, choices.pick(TYPES)))
        else:
            old = table.schema.field(column).type
            cell = {which: choices.pick(given) for which, given in CELLS.items()}
            value = None if kind == "null" else of_type(old, cell, choices.below(15))
            with suppress(pa.ArrowException, OverflowError):
                table = table.set_column(at, column, pa.array([value, *table[column].to_pylist()[1:]], old))
    return table


def of_type(kind: pa.DataType, cell: dict, length: int):
    if pa.types.is_list(kind):
        return [of_type(kind.value_type, cell, 1)] * length
    if pa.types.is_struct(kind):
        return {field.name: of_type(field.type, cell, 1) for field in kind}
    return (
        cell["s"]
        if pa.types.is_string(kind)
        else cell["f"]
        if pa.types.is_floating(kind)
        else cell["i"] != 0
        if pa.types.is_boolean(kind)
        else cell["i"]
    )
