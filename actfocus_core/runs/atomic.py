"""Runs that appear whole or not at all, and their names."""

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
def appearing_run(path: Path, config: dict[str, Any], model: dict[str, Any] | None = None) -> Iterator[Run]:
    """Yield a new run that is hidden until the block ends: it appears whole or not at all.

    For runs that are made in one go. Raises ActFocusError where the path is taken.
    """
    path = Path(path)
    if path.exists():
        raise ActFocusError(f"{path}: already exists; choose another name for the run")
    run = Run.create(hidden_path(path, os.getpid()), config, model)
    try:
        yield run
        # What was learnt of the run while it was made is in its info by now.
        write_info(run.path, run.info)
        run.path = run.path.rename(path)
        sync(path.parent)
    except OSError as error:
        raise ActFocusError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(hidden_path(path, os.getpid()), ignore_errors=True)


def hidden_path(path: Path, process: int) -> Path:
    """Where a process keeps a run that has not appeared yet."""
    return path.with_name(f".{path.name}.{process}.part")


def free_path(folder: Path, stem: str) -> Path:
    """The first of ``folder/stem-1``, ``-2``, ... that is not taken."""
    number = 1
    while (folder / f"{stem}-{number}").exists():
        number += 1
    return folder / f"{stem}-{number}"
