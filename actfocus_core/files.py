"""Files of a run folder, which may come from a stranger: opened so that none can harm who opens it.

A run folder can hold links to other files, FIFOs and devices under the names of its own files. So
every file of one is opened here: the last part of its path is never a link, it is a regular file,
opening it neither waits nor empties it, and no more is read than a limit. The folder itself may be
reached by a link.

Each function raises OSError, whose ``strerror`` says in words what is wrong.
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
"""Bytes of a JSON file of a run, unless a caller says otherwise."""
LINE_MAX = 1 << 20
"""Bytes of a line of a file of lines."""


def demand_no_link(*folders: Path) -> None:
    """Raises OSError where a folder inside a run folder is a link: what is read or written there would lie elsewhere."""
    for folder in folders:
        if folder.is_symlink():
            raise OSError(
                errno.ELOOP, f"its {folder.name} is a link, and links inside a run folder are not followed", str(folder)
            )


def open_regular(path: str | Path, flags: int = os.O_RDONLY) -> int:
    """A file descriptor of a regular file, not inherited by child processes.

    ``flags``: of ``os.open``; a file they create has the permissions of an ordinary new one.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _in_words(error, path) from None
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is a folder" if stat.S_ISDIR(kind) else "it is no regular file", str(path))
    return descriptor


def _in_words(error: OSError, path: str | Path) -> OSError:
    if error.errno == errno.ELOOP:
        return OSError(error.errno, "it is a link, and links inside a run folder are not followed", str(path))
    if error.errno == errno.ENXIO:  # a socket; a FIFO that nobody reads
        return OSError(error.errno, "it is no regular file", str(path))
    return error


def open_to_read(path: str | Path, limit: int | None = None) -> IO[bytes]:
    """A regular file, open for reading bytes. ``limit``: the most bytes it may have."""
    stream = os.fdopen(open_regular(path), "rb")
    if limit is not None and (size := os.fstat(stream.fileno()).st_size) > limit:
        stream.close()
        raise OSError(errno.EFBIG, f"it has {size:,} bytes, at most {limit:,} are read", str(path))
    return stream


def open_to_append(path: str | Path) -> IO[bytes]:
    """A regular file, made where there is none, open for writing bytes at its end without a buffer."""
    return open(open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab", buffering=0)


def open_to_change(path: str | Path) -> IO[bytes]:
    """A regular file that exists, open for reading and writing bytes; nothing of it is lost by opening it."""
    return open(open_regular(path, os.O_RDWR), "rb+")


def read_text(path: str | Path, limit: int = TEXT_MAX) -> str:
    """The text of a UTF-8 file. Raises UnicodeDecodeError, a ValueError, where it is not UTF-8."""
    with open_to_read(path, limit) as stream:
        content = stream.read(os.fstat(stream.fileno()).st_size)
        # It may have grown meanwhile, and some files do not say how long they are.
        while len(content) <= limit and (more := stream.read(1 << 16)):
            content += more
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it has more than the {limit:,} bytes that are read", str(path))
    return content.decode("utf-8")


def read_json(path: str | Path, limit: int = TEXT_MAX) -> object:
    """The value of a JSON file. Raises ValueError or RecursionError where it is not JSON that can be read."""
    return json.loads(read_text(path, limit))


def read_end(path: str | Path, size: int) -> bytes:
    """The last ``size`` bytes of a file, all of a shorter one."""
    with open_to_read(path) as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
        return stream.read(size)


def create_empty(path: str | Path) -> None:
    """Make an empty regular file; one that is there stays as it is."""
    os.close(open_regular(path, os.O_WRONLY | os.O_CREAT))


@contextmanager
def locked(path: str | Path, *, wait: bool = False) -> Iterator[IO[bytes] | None]:
    """Hold the exclusive lock of a file for the block; None where another process holds it and ``wait`` is false.

    The file is made where there is none, and its content is left alone. The system frees the lock with the
    process, and with the last process that inherited the open file.
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
    """Whether a process holds the exclusive lock of a file. Those who ask do not get in each other's way."""
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
    """Have a regular file, or the names in a folder, on the disk before this returns: they survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
