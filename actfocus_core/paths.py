"""The folder of packaged assets, the cache folder of the user, and atomic writing of files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.files import sync


def assets() -> Path:
    """The folder of packaged assets, inside the installed package or in the checkout. Raises ActFocusError without one."""
    here = Path(__file__).parent
    for folder in (here / "assets", here.parent / "assets"):
        if folder.is_dir():
            return folder
    raise ActFocusError(
        f"no assets folder beside {here}: the installation is incomplete; install the actfocus package again"
    )


def user_cache() -> Path:
    """The cache folder of the user: ``$XDG_CACHE_HOME/actfocus``, by default ``~/.cache/actfocus``; it may not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "actfocus"


@contextmanager
def atomic_write(path: Path, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the same folder, which is renamed to ``path`` on success.

    After an error the temporary file is deleted, so readers never see an incomplete file. ``durable``: the file is
    flushed to disk before the block ends, so that it survives a loss of power.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        make_group_readable(part)
        if durable:
            sync(part)
        part.replace(path)
        if durable:
            sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def modified_time(file: Path) -> float:
    """The modification time of a file in seconds, as a sort key; 0 if the file no longer exists."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def make_group_readable(file: Path) -> None:
    """Give a file the default permissions of a new file (umask); some writers create private files."""
    mask = os.umask(0)
    os.umask(mask)
    file.chmod(0o666 & ~mask)
