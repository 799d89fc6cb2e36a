"""How cases are made of bytes: choices, and from them damaged files and damaged values of JSON."""

from __future__ import annotations

import copy
import struct

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
