"""The run folders inside a folder, found again only when the folder changes: there may be ten thousand."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

SETTLED_NS = 100_000_000
"""A change within this time before a scan may share its time stamp with a later one."""


class RunFolders:
    """The run folders directly inside ``folder``, by name. Thread-safe.

    A call costs one ``stat``, and one for each subfolder that was no run when it was last seen: a run that is copied here
    gets its run.json after its folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._found: dict[str, Path] = {}
        self._others: set[str] = set()

    def list(self) -> list[Path]:
        """The folders, sorted by name; the target of one that is a link. Hidden folders are left out."""
        with self._lock:
            stamp = _stamp(self.folder)
            if stamp is None or stamp != self._stamp or any(map(self._is_run, self._others)):
                self._scan()
                settled = stamp is not None and time.time_ns() - stamp[0] > SETTLED_NS
                self._stamp = stamp if settled else None
            return [self._found[name] for name in sorted(self._found)]

    def _scan(self) -> None:
        try:
            with os.scandir(self.folder) as entries:
                folders = {entry.name: entry.is_symlink() for entry in entries if not entry.name.startswith(".")}
        except OSError:
            folders = {}
        # A folder that was a run is not looked into again: opening it says whether it still is.
        found = {name: path for name, path in self._found.items() if name in folders}
        for name, linked in folders.items():
            if linked:
                found.pop(name, None)
            if name not in found and self._is_run(name):
                found[name] = (self.folder / name).resolve() if linked else self.folder / name
        self._found = found
        self._others = {name for name in folders if name not in found and (self.folder / name).is_dir()}

    def _is_run(self, name: str) -> bool:
        return os.path.exists(f"{self.folder}/{name}/run.json")


def _stamp(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def evaluations(run: Path) -> list[Path]:
    """The evaluations of a training run: runs inside its folder; links are not followed."""
    try:
        mode = os.lstat(f"{run}/evaluation").st_mode
    except OSError:
        return []
    if not stat.S_ISDIR(mode):
        return []
    folder = run / "evaluation"
    return [path for path in RunFolders(folder).list() if path.parent == folder]
