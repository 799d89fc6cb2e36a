"""``opened``: the decompressed bytes of a file, which may be compressed with gzip or zstd whatever its name."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from actfocus_core.errors import ActFocusError

COMPRESSIONS = (".gz", ".zst")
"""Suffixes of compressed files; whether a file is compressed is decided by its first bytes."""
BLOCK = 1 << 16
"""Number of bytes decompressed at once; the last block before damage is decompressed again byte by byte."""
READ_ERRORS = (OSError, pa.ArrowException)


@dataclass
class Source:
    """An open file.

    ``report`` passes the number of bytes read from disk since its last call to ``on_bytes``.
    """

    stream: io.BufferedReader[Any]
    """The decompressed bytes"""
    raw: io.BufferedReader[Any]
    """The bytes on disk"""
    on_bytes: Callable[[float], None] | None = None
    _reported: int = 0

    def report(self) -> None:
        if self.on_bytes and (position := self.raw.tell()) > self._reported:
            self.on_bytes(position - self._reported)
            self._reported = position


@contextmanager
def opened(path: Path, on_bytes: Callable[[float], None] | None = None) -> Iterator[Source]:
    """Open a file to read its decompressed bytes. Raises ActFocusError if it cannot be opened.

    Reading raises one of READ_ERRORS at the first byte that cannot be read or decompressed, after all bytes before it.
    """
    try:
        file = io.FileIO(path)
    except OSError as error:
        raise ActFocusError(f"{path}: cannot be opened ({error.strerror})") from None
    with io.BufferedReader(file, BLOCK) as raw:
        try:
            compression = compression_of(raw.peek(4)[:4])
        except OSError as error:
            raise ActFocusError(f"{path}: cannot be read ({error.strerror})") from None
        stream: io.BufferedReader[Any] = (
            io.BufferedReader(_Decompressed(raw, compression), BLOCK) if compression else raw
        )
        yield Source(stream, raw, on_bytes)


def compression_of(start: bytes) -> str | None:
    """``gzip`` or ``zstd`` by a file's first four bytes, None for any other file."""
    if start[:2] == b"\x1f\x8b":
        return "gzip"
    # zstd: a frame, or a skippable frame, which parallel compressors write first.
    skippable = len(start) == 4 and start[0] & 0xF0 == 0x50 and start[1:] == b"\x2a\x4d\x18"
    return "zstd" if start == b"\x28\xb5\x2f\xfd" or skippable else None


def reason(error: BaseException) -> str:
    """The first line of an error of a library."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def is_cut(error: BaseException) -> bool:
    """Whether an error of READ_ERRORS says that a compressed file ends early, so that all of what was read is right."""
    return str(error).startswith("Truncated compressed stream")


class _Decompressed(io.RawIOBase):
    """The decompressed bytes of a stream.

    Arrow's decompressor discards what it has read of a block when it finds the stream damaged. The block is then read
    again, byte by byte.
    """

    def __init__(self, raw: io.BufferedReader[Any], compression: str):
        self._raw, self._compression = raw, compression
        # A stream that is no longer referenced closes ``raw``.
        self._streams = [pa.CompressedInputStream(raw, compression)]
        self._position = 0
        self._error: BaseException | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._error is not None:
            raise self._error
        try:
            content = self._streams[-1].read(len(buffer))
        except READ_ERRORS as error:
            self._error = error
            content = self._before_damage(len(buffer))
            if not content:
                raise
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def _before_damage(self, size: int) -> bytes:
        """At most ``size`` bytes from the position on."""
        self._raw.seek(0)
        self._streams.append(stream := pa.CompressedInputStream(self._raw, self._compression))
        content = bytearray()
        try:
            for start in range(0, self._position, BLOCK):
                stream.read(min(BLOCK, self._position - start))
            while len(content) < size and (byte := stream.read(1)):
                content += byte
        except READ_ERRORS:
            pass
        return bytes(content)
