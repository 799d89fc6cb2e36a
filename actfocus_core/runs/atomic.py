"""Atomic creation of runs, and unused names for them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actfocus_core.errors import ActFocusError
from actfocus_core.files import sync
from actfocus_core.runs.info import write_info
from actfocus_core.runs.run import Run


@contextmanager
def atomic_run(path: Path, config: dict[str, Any], model: dict[str, Any] | None = None) -> Iterator[Run]:
    """Yield a new run in a hidden folder, which is renamed to ``path`` if the block succeeds and deleted if it raises.

    For runs written in one go. Raises ActFocusError if the path exists or cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise ActFocusError(f"{path}: already exists; choose another name for the run")
    run = Run.create(temporary_path(path, os.getpid()), config, model)
    try:
        yield run
        # The block may have added to the info.
        write_info(run.path, run.info)
        run.path = run.path.rename(path)
        sync(path.parent)
    except OSError as error:
        raise ActFocusError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(temporary_path(path, os.getpid()), ignore_errors=True)


def temporary_path(path: Path, process: int) -> Path:
    """The hidden folder in which a process writes a run before it is renamed to ``path``."""
    return path.with_name(f".{path.name}.{process}.part")


def free_path(folder: Path, stem: str) -> Path:
    """The first of ``folder/stem-1``, ``folder/stem-2``, ... that does not exist."""
    number = 1
    while (folder / f"{stem}-{number}").exists():
        number += 1
    return folder / f"{stem}-{number}"
