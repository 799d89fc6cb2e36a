"""``AnnotationStore``: annotations of traces in a temporary file, with an index in memory."""

from __future__ import annotations

import json
import struct
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from actfocus_core.interop.reading import Record

STREAMS = ("advantages", "trainer_logprobs", "entropies", "mismatch_kl", "is_masked")
"""The lists that a branch may have, one value per token; the last keeps unknown values between known ones."""
_HEADER = struct.Struct("<qII")
_NONE = -1


class Annotation(NamedTuple):
    """What one annotation says about a trace."""

    info: dict[str, Any]
    branches: list[tuple[int, dict[str, np.ndarray]]]
    """(index of the branch, stream -> float32 [tokens of the branch], NaN where unknown)"""


class AnnotationStore:
    """Annotations by trace, in the order in which they were added.

    They are in a temporary file without a name, as they can be larger than memory; the index needs about 200 bytes per
    trace. An annotation in the file: the offset of the trace's annotation before it, two lengths, JSON, float32 values.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the store)
        weakref.finalize(self, self._file.close)
        self._last: dict[str, int] = {}
        self._used: set[str] = set()

    def add(self, record: Record) -> None:
        """Add an annotation as it is in a file. Raises ActFocusError for a missing or invalid field."""
        name = record.key("trace_id")
        info = record.record("info", Record({}, record.where)).value
        branches: list[tuple[int, dict[str, int]]] = []
        values: list[np.ndarray] = []
        for branch in record.records("branches") if "branches" in record else ():
            streams = {stream: _values(branch, stream) for stream in STREAMS if stream in branch}
            branches.append((branch.integer("index"), {stream: len(array) for stream, array in streams.items()}))
            values.extend(streams.values())
        text, content = json.dumps([info, branches]).encode(), b"".join(array.tobytes() for array in values)
        offset = self._file.seek(0, 2)
        self._file.write(_HEADER.pack(self._last.get(name, _NONE), len(text), len(content)) + text + content)
        self._last[name] = offset

    def take(self, name: str) -> Iterator[Annotation]:
        """Yield the annotations of a trace in the order in which they were added; the trace then counts as used."""
        self._used.add(name)
        offsets, offset = [], self._last.get(name, _NONE)
        while offset != _NONE:
            offsets.append(offset)
            offset, _, _ = self._header(offset)
        for offset in reversed(offsets):
            _, text, content = self._header(offset)
            yield _annotation(self._file.read(text), self._file.read(content))

    def is_used(self, name: str) -> bool:
        """Whether the trace was taken before."""
        return name in self._used

    def unused(self) -> int:
        """The number of annotated traces that were not taken."""
        return len(self._last.keys() - self._used)

    def _header(self, offset: int) -> tuple[int, int, int]:
        """The header at an offset; the file is then at what follows it."""
        self._file.seek(offset)
        previous, text, content = _HEADER.unpack(self._file.read(_HEADER.size))
        return previous, text, content


def _values(branch: Record, name: str) -> np.ndarray:
    """float32 [tokens], NaN for null."""
    if name == STREAMS[-1]:
        return branch.flags(name)
    return branch.floats(name, len(branch.get(name, list, "a list of numbers")))


def _annotation(text: bytes, content: bytes) -> Annotation:
    info, branches = json.loads(text)
    values = np.frombuffer(content, np.float32)
    return Annotation(info, list(_split(branches, values)))


def _split(branches: list[Any], values: np.ndarray) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    start = 0
    for index, lengths in branches:
        streams = {}
        for name, length in lengths.items():
            streams[name] = values[start : start + length]
            start += length
        yield index, streams
