"""How valid things are damaged: bytes of a file, and values of JSON."""

from __future__ import annotations

import copy

from hypothesis import strategies as st

DEEP = "[" * 100_000
"""Nested deeper than a parser's stack."""
NUMBERS = [0, -1, 2**31, 2**63, -2**70, 10**400, -0.0, 1e308, float("nan"), float("inf")]
VALUES = [None, True, False, *NUMBERS, "", "x", "é\n", "\ud800", "\x00", "\x1b[2J", "../../etc/passwd", "{{x}}", "a" * 5000, [], [1], ["a"],
          [None], [[1, [2]]], [{}], {}, {"a": 1}, {"role": "user"}, [1, "a", None, 2.5]]
PIECES = [b"\xff", b"\x00", b"[[", b'"', b"\n", b"{}", b"1e999", b"-", b"NaN", b"\\ud800", b"9" * 30, b"\xef\xbb\xbf", b"\r\n", b"!!python/object"]


def values() -> st.SearchStrategy:
    """Any value of JSON, mostly one that is wrong wherever it stands."""
    leaves = st.one_of(st.sampled_from(VALUES), st.integers(), st.floats(), st.text(max_size=8))
    # A copy: a second fault may fall into the value of the first.
    return st.one_of(leaves, leaves, st.lists(leaves, max_size=3), st.dictionaries(st.text(max_size=4), leaves, max_size=2)).map(copy.deepcopy)


@st.composite
def damaged_bytes(draw, originals: list[bytes]) -> bytes:
    """One of the files with up to three faults: bits flipped, a part lost, doubled or put in, the end lost."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "lose", "double", "put", "cut", "overwrite"]))
        length = draw(st.integers(1, 40))
        if kind == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "lose":
            del data[at:at + length]
        elif kind == "double":
            data[at:at] = data[at:at + length]
        elif kind == "put":
            data[at:at] = draw(st.sampled_from(PIECES))
        elif kind == "overwrite":
            data[at:at + length] = draw(st.binary(min_size=1, max_size=8))
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


@st.composite
def damaged_values(draw, originals: list, faults: int = 2):
    """One of the values with up to so many faults: a value replaced, removed, renamed, doubled, or swapped with another."""
    whole = [copy.deepcopy(draw(st.sampled_from(originals)))]
    for _ in range(draw(st.integers(1, faults))):
        way = draw(st.sampled_from([(0, *place) for place in places(whole[0])]))
        parent = whole
        for key in way[:-1]:
            parent = parent[key]
        last, kind = way[-1], draw(st.sampled_from(["replace", "replace", "remove", "rename", "stretch", "swap", "wrap"]))
        if kind == "remove" and len(way) > 1:
            del parent[last]
        elif kind == "rename" and isinstance(parent, dict):
            parent[draw(st.sampled_from(["", "x", "\x00", str(last).upper(), "__class__"]))] = parent.pop(last)
        elif kind == "stretch" and isinstance(parent[last], list):
            parent[last] = parent[last] * draw(st.sampled_from([0, 2, 3]))
        elif kind == "swap" and isinstance(parent, dict):
            other = draw(st.sampled_from(sorted(parent)))
            parent[last], parent[other] = parent[other], parent[last]
        elif kind == "wrap":
            parent[last] = draw(st.sampled_from([[parent[last]], {"x": parent[last]}]))
        else:
            parent[last] = draw(values())
    return whole[0]
