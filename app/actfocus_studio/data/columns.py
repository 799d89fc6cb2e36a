"""Typed columns: how arrays reach the browser, in answers of the server and in files that need none.

Numbers are little-endian bytes in base64, so every bit of a float arrives, and NaN with it; ``web/lib/columns.js``
makes typed arrays of them. Text is a list.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Literal

import numpy as np

from actfocus_studio.data.message import Message


class Float32Column(Message):
    """float32 [n]; NaN where a value is unknown."""

    dtype: Literal["float32"] = "float32"
    data: str


class Float64Column(Message):
    """float64 [n]; NaN where a value is unknown."""

    dtype: Literal["float64"] = "float64"
    data: str


class Int32Column(Message):
    """int32 [n]"""

    dtype: Literal["int32"] = "int32"
    data: str


class Uint8Column(Message):
    """uint8 [n]"""

    dtype: Literal["uint8"] = "uint8"
    data: str


class TextColumn(Message):
    """text [n]"""

    dtype: Literal["text"] = "text"
    data: list[str]


def float32(values: Iterable[float] | np.ndarray) -> Float32Column:
    return Float32Column(data=_bytes(values, "<f4"))


def float64(values: Iterable[float] | np.ndarray) -> Float64Column:
    return Float64Column(data=_bytes(values, "<f8"))


def int32(values: Iterable[int] | np.ndarray) -> Int32Column:
    """Raises ValueError for a value that int32 does not hold."""
    array = np.asarray(values if isinstance(values, np.ndarray) else list(values), np.int64)
    if len(array) and (array.min() < -(2**31) or array.max() >= 2**31):
        raise ValueError("a value is outside of int32")
    return Int32Column(data=_bytes(array, "<i4"))


def uint8(values: Iterable[int] | np.ndarray) -> Uint8Column:
    return Uint8Column(data=_bytes(values, "u1"))


def text(values: Iterable[str]) -> TextColumn:
    return TextColumn(data=list(values))


def _bytes(values: Iterable[float] | np.ndarray, dtype: str) -> str:
    array = values if isinstance(values, np.ndarray) else list(values)
    return base64.b64encode(np.ascontiguousarray(array, dtype=dtype).tobytes()).decode("ascii")
