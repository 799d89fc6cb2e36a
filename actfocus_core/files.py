"""Open the files of a run folder safely; the folder may come from an untrusted source.

A run folder can contain links, FIFOs and devices in place of its files. All of its files are therefore opened here: the
last component of the path must not be a link, the file must be regular, opening neither blocks nor truncates, and reads
have a size limit. The path of the folder itself may contain links.

All functions raise OSError with a readable reason in ``strerror``.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

TEXT_MAX = 16 << 20
"""Default size limit of a JSON file of a run, in bytes."""
LINE_MAX = 1 << 20
"""Size limit of a line in a JSON Lines file, in bytes."""


def check_no_link(*folders: Path) -> None:
    """Raise OSError if a folder inside a run folder is a link, since reads and writes would go elsewhere."""
    for folder in folders:
        if folder.is_symlink():
            raise OSError(
                errno.ELOOP, f"its {folder.name} is a link, and links inside a run folder are not followed", str(folder)
            )


def open_regular(path: str | Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file; the descriptor is not inherited by child processes.

    ``flags``: as for ``os.open``; a file created by them has the default permissions of a new file.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _readable_error(error, path) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is a folder" if stat.S_ISDIR(mode) else "it is not a regular file", str(path))
    return descriptor


def _readable_error(error: OSError, path: str | Path) -> OSError:
    if error.errno == errno.ELOOP:
        return OSError(error.errno, "it is a link, and links inside a run folder are not followed", str(path))
    if error.errno == errno.ENXIO:  # A socket, or a FIFO without a reader.
        return OSError(error.errno, "it is not a regular file", str(path))
    return error


def open_to_read(path: str | Path, limit: int | None = None) -> IO[bytes]:
    """Open a regular file for reading bytes. ``limit``: its maximum size in bytes."""
    stream = os.fdopen(open_regular(path), "rb")
    if limit is not None and (size := os.fstat(stream.fileno()).st_size) > limit:
        stream.close()
        raise OSError(errno.EFBIG, f"it has {size:,} bytes, at most {limit:,} are read", str(path))
    return stream


def open_to_append(path: str | Path) -> IO[bytes]:
    """Open a regular file for unbuffered appending of bytes; it is created if it does not exist."""
    return open(open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab", buffering=0)


def open_to_change(path: str | Path) -> IO[bytes]:
    """Open an existing regular file for reading and writing bytes, without truncating it."""
    return open(open_regular(path, os.O_RDWR), "rb+")


def read_text(path: str | Path, limit: int = TEXT_MAX) -> str:
    """The text of a UTF-8 file. Raises UnicodeDecodeError (a ValueError) if it is not UTF-8."""
    with open_to_read(path, limit) as stream:
        content = stream.read(os.fstat(stream.fileno()).st_size)
        # The file may have grown since fstat, and some files report no size.
        while len(content) <= limit and (more := stream.read(1 << 16)):
            content += more
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it has more than the {limit:,} bytes that are read", str(path))
    return content.decode("utf-8")


def read_json(path: str | Path, limit: int = TEXT_MAX) -> object:
    """The value of a JSON file. Raises ValueError or RecursionError if it is not valid JSON."""
    return json.loads(read_text(path, limit))


def read_end(path: str | Path, size: int) -> bytes:
    """The last ``size`` bytes of a file, or all bytes of a shorter one."""
    with open_to_read(path) as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
        return stream.read(size)


def create_empty(path: str | Path) -> None:
    """Create an empty regular file; an existing file is left unchanged."""
    os.close(open_regular(path, os.O_WRONLY | os.O_CREAT))


@contextmanager
def locked(path: str | Path, *, wait: bool = False) -> Iterator[IO[bytes] | None]:
    """Hold the exclusive lock of a file; yields None if another process holds it and ``wait`` is false.

    The file is created if it does not exist, and its content is not changed. The system releases the lock when the last
    process that holds or inherited the open file ends.
    """
    import fcntl

    with open(open_regular(path, os.O_RDWR | os.O_CREAT), "rb+", buffering=0) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
        else:
            yield stream


def is_locked(path: str | Path) -> bool:
    """Whether a process holds the exclusive lock of a file. Concurrent checks do not affect each other."""
    import fcntl

    try:
        stream = open_to_read(path)
    except FileNotFoundError:
        return False
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def sync(path: str | Path) -> None:
    """Flush a regular file, or the entries of a folder, to disk, so that it survives a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
