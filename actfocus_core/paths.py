"""Where the packaged assets lie, and how a file appears whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.files import sync


def assets() -> Path:
    """The folder of embedded assets: inside the installed package, or in the checkout."""
    here = Path(__file__).parent
    for folder in (here / "assets", here.parent / "assets"):
        if folder.is_dir():
            return folder
    raise ActFocusError(
        f"no assets folder beside {here}: the installation is incomplete; install the actfocus package again"
    )


@contextmanager
def appearing(path: Path, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the same folder that becomes ``path`` by rename on success.

    On an error nothing is left behind, so a reader never sees half a file. ``durable``: the file has
    reached the disk when the block ends, so that a loss of power cannot take or empty it.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        share(part)
        if durable:
            sync(part)
        part.replace(path)
        if durable:
            sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def when_written(file: Path) -> float:
    """The time of a file's last change, to sort by; long ago where it has just gone."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def share(file: Path) -> None:
    """Give a file the permissions of an ordinary new one: some writers make theirs private."""
    mask = os.umask(0)
    os.umask(mask)
    file.chmod(0o666 & ~mask)
