"""How large a run is and how often it succeeded, without reading its tokens."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actfocus_core.errors import ActFocusError
from actfocus_core.files import check_no_link
from actfocus_core.runs import stamp as file_stamp
from actfocus_core.runs.info import read_info
from actfocus_core.runs.names import stored_parts
from actfocus_core.runs.parquet import open_parquet
from actfocus_studio.data.message import Message

SECONDS = 0.3
"""That one answer may take: what is not counted by then is asked for again."""
KEPT = 1 << 15
"""Files and runs whose counts are kept."""
COLUMNS = ("success", "n_tokens", "rollout_id")
ENTRIES_MAX = 20_000
"""Files of a run whose sizes are added up."""


class RunSize(Message):
    """The counts of a run; null where they cannot be read."""

    name: str
    rollouts: int | None = None
    tokens: int | None = None
    """Of all rollouts, those that were only read among them."""
    bytes: int | None = None
    """Of all files in its folder."""
    successes: int | None = None
    failures: int | None = None
    unknown: int | None = None
    """Rollouts of which success is not known."""
    error: str = ""
    """Why there are no counts."""


@dataclass(frozen=True)
class _Counts:
    rollouts: int = 0
    tokens: int = 0
    successes: int = 0
    failures: int = 0

    def __add__(self, other: _Counts) -> _Counts:
        return _Counts(*(a + b for a, b in zip(vars(self).values(), vars(other).values())))


class RunSizes:
    """Counts of runs, cached by the stamps of their files. Thread-safe."""

    def __init__(self):
        self._lock = threading.Lock()
        self._runs: dict[tuple, RunSize] = {}
        self._files: dict[tuple, _Counts] = {}

    def of(self, runs: Iterable[tuple[str, Path | None]], seconds: float = SECONDS) -> list[RunSize]:
        """The counts of runs, given as name and folder, in their order; the list ends where the time is up.

        A folder that is not there, or None, gives an error in its place.
        """
        until, found = time.monotonic() + seconds, []
        with self._lock:
            for name, path in runs:
                gone = RunSize(name=name, error="there is no run of this name any more")
                size = gone if path is None else self._of(name, path, until)
                if size is None:
                    break
                found.append(size)
        return found

    def _of(self, name: str, path: Path, until: float) -> RunSize | None:
        try:
            check_no_link(path / "trajectories")
            key = (path, *(_folder_stamp(folder) for folder in (path, path / "trajectories", path / "signals")))
            if key not in self._runs:
                read_info(path / "run.json")
                counts = self._counted(path, until)
                if counts is None:
                    return None
                unknown = counts.rollouts - counts.successes - counts.failures
                self._keep(self._runs, key, RunSize(name=name, **vars(counts), unknown=unknown, bytes=size_of(path)))
            return self._runs[key].model_copy(update={"name": name})
        except ActFocusError as error:
            return RunSize(name=name, error=" ".join(str(error).split()))
        except OSError as error:
            return RunSize(name=name, error=f"{path}: cannot be read ({error.strerror})")

    def _counted(self, path: Path, until: float) -> _Counts | None:
        """The counts of all files; None where the time is up. What was counted so far is kept."""
        total, read = _Counts(), False
        for part in stored_parts(path):
            file = part.facts(path)
            key = (file, file_stamp(file))
            if key not in self._files:
                # One file at least, so that every answer gets further.
                if read and time.monotonic() > until:
                    return None
                read = True
                self._keep(self._files, key, count(file))
            total += self._files[key]
        return total

    def _keep(self, cache: dict, key: tuple, value: object) -> None:
        cache[key] = value
        while len(cache) > KEPT:
            del cache[next(iter(cache))]


def count(file: Path) -> _Counts:
    """The counts of one file of trajectories: segments of one rollout count once. Raises ActFocusError if it is not readable."""
    with open_parquet(file) as parquet:
        names = parquet.schema_arrow.names
        table = parquet.read([name for name in COLUMNS if name in names])
    if "success" not in table.column_names or "n_tokens" not in table.column_names:
        raise ActFocusError(f"{file}: has no columns success and n_tokens; it is not of a run")
    success = table["success"].to_numpy(zero_copy_only=False).astype(object)
    first = np.ones(len(success), bool)
    if "rollout_id" in table.column_names:
        ids = [id or k for k, id in enumerate(table["rollout_id"].to_pylist())]
        seen: set[object] = set()
        first = np.array([not (id in seen or seen.add(id)) for id in ids], bool)
    known = success[first]
    tokens = sum(n or 0 for n in table["n_tokens"].to_pylist())
    return _Counts(int(first.sum()), tokens, sum(s is True for s in known), sum(s is False for s in known))


def size_of(folder: Path) -> int | None:
    """Bytes of all files in a folder and the folders inside; links are not followed. None where there are too many."""
    total, left, folders = 0, ENTRIES_MAX, [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                left -= 1
                if left < 0:
                    return None
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def _folder_stamp(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino
