"""What the list computes once, kept as Arrow files in a cache folder of the user; nothing is written beside a run.

A file is named by its run and by what it holds, and begins with a header: the key it was computed under (stamps of the files,
schemes, parameters, reference) and a checksum. A file with another key, or a damaged one, is computed again. A cache that
cannot be written only means that things are computed again in the next process.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from actfocus_core.files import open_to_read
from actfocus_core.paths import atomic_write, user_cache

_HEADER = 64
"""Bytes before the Arrow file, a multiple of the alignment of its buffers."""
_MAGIC = b"actfocus1"
LIMIT = 8 << 30
"""Bytes that the files may have; the ones that were not used for longest are deleted above it."""


class Cache:
    """The files of one run in a cache folder; ``folder=None``: nothing is stored.

    ``Cache.of(run)`` is that of the user.
    """

    def __init__(self, folder: Path | None, limit: int = LIMIT):
        self.folder, self.limit = folder, limit

    @classmethod
    def of(cls, run: Path, folder: Path | None = None) -> Cache:
        """The cache of a run folder, in ``folder`` or else in the cache folder of the user."""
        try:
            place = (folder or user_cache()) / "listing"
        except RuntimeError:  # a user without a home
            return cls(None)
        return cls(place / f"{run.name[:40]}-{digest(str(run.resolve()))}")

    def read(self, name: str, key: str) -> pa.Table | None:
        """The table stored under a name and a key, memory-mapped; None if there is none, or it is damaged."""
        if self.folder is None:
            return None
        file = self._file(name)
        try:
            with open_to_read(file) as stream:
                header = stream.read(_HEADER)
                content = pa.memory_map(f"/dev/fd/{stream.fileno()}").read_buffer().slice(_HEADER)
            if header != _header(key, zlib.crc32(memoryview(content))):
                return None
            table = pa.ipc.open_file(content).read_all()
            # Its text is read without further checks.
            table.validate(full=True)
            with suppress(OSError):
                os.utime(file)
        except (OSError, ValueError, pa.ArrowException):
            return None
        return table

    def write(self, name: str, key: str, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> bool:
        """Store record batches as they come, replacing what has this name; whether that was possible.

        What the iteration itself raises is raised, and then nothing is stored.
        """
        if self.folder is None:
            return False
        source = _Source(batches)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with atomic_write(self._file(name)) as part, open(part, "wb") as stream:
                stream.write(b" " * _HEADER)
                sink = _Checked(stream)
                with pa.ipc.new_file(pa.PythonFile(sink, mode="w"), schema) as writer:
                    for batch in source:
                        writer.write_batch(batch)
                stream.seek(0)
                stream.write(_header(key, sink.checksum))
        except OSError:
            if source.failed:
                raise
            return False
        self._prune()
        return True

    def _file(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{name}.arrow"

    def _prune(self) -> None:
        """Delete the files of all runs that were not used for longest, above the limit."""
        assert self.folder is not None
        files = []
        for file in self.folder.parent.glob("*/*.arrow"):
            with suppress(OSError):
                status = file.stat()
                files.append((status.st_mtime, status.st_size, file))
        total = sum(size for _, size, _ in files)
        for _, size, file in sorted(files)[:-1]:
            if total <= self.limit:
                return
            with suppress(OSError):
                file.unlink()
            total -= size


class _Source:
    """Iterates over batches, and remembers whether it was they who failed."""

    def __init__(self, batches: Iterable[pa.RecordBatch]):
        self._batches, self.failed = iter(batches), False

    def __iter__(self) -> _Source:
        return self

    def __next__(self) -> pa.RecordBatch:
        self.failed = True
        batch = next(self._batches, None)
        self.failed = False
        if batch is None:
            raise StopIteration
        return batch


class _Checked:
    """A file for Arrow that keeps the checksum of what is written."""

    closed = False

    def __init__(self, stream: IO[bytes]):
        self._stream, self.checksum = stream, 0

    def write(self, data: Any) -> int:
        self.checksum = zlib.crc32(data, self.checksum)
        return self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self.flush()


def _header(key: str, checksum: int) -> bytes:
    return (_MAGIC + b" " + digest(key).encode() + b" %08x" % checksum).ljust(_HEADER)


def digest(text: str) -> str:
    """32 hexadecimal digits that two texts share only if they are equal."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
