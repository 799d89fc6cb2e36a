"""Renaming runs and deleting them with undo.

A deleted run is moved into a hidden folder beside the runs, ``.trash/TIME-RANDOM/NAME``, from which it can be restored for
``DAYS`` days. Folders are opened one inside the other by descriptor, without following links, and every name is a single one:
nothing outside of the folder of runs is renamed or removed.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from actfocus_core.errors import ActFocusError

FOLDER = ".trash"
DAYS = 7
"""That a deleted run can be restored; then it is removed when a studio over this folder starts or deletes a run."""
NAME_MAX = 100
_ENTRY = re.compile(r"(\d{9,12})-[0-9a-f]{8}")
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Deleted:
    """A deleted run."""

    id: str
    name: str
    deleted: float
    """Seconds since 1970."""

    @property
    def expires(self) -> float:
        """After this time it is removed; seconds since 1970."""
        return self.deleted + DAYS * 86_400


class Trash:
    """Rename, delete and restore the runs directly inside a folder. All methods raise ActFocusError, with nothing changed."""

    def __init__(self, runs_dir: Path):
        self.runs_dir = Path(runs_dir).resolve()

    def rename(self, name: str, new: str) -> None:
        """Give a run a new name, one that no file in the folder has."""
        check_name(new)
        with self._writing(), _opened(self.runs_dir) as runs:
            _check_run(runs, name)
            _check_free(runs, new)
            os.rename(name, new, src_dir_fd=runs, dst_dir_fd=runs)

    def delete(self, name: str) -> Deleted:
        """Move a run into the trash."""
        self.expire()
        with self._writing(), _opened(self.runs_dir) as runs:
            _check_run(runs, name)
            with suppress(FileExistsError):
                os.mkdir(FOLDER, dir_fd=runs)
            with _opened(FOLDER, runs) as trash:
                id = f"{int(time.time())}-{secrets.token_hex(4)}"
                os.mkdir(id, dir_fd=trash)
                try:
                    with _opened(id, trash) as entry:
                        os.rename(name, name, src_dir_fd=runs, dst_dir_fd=entry)
                except OSError:
                    os.rmdir(id, dir_fd=trash)
                    raise
        return _deleted(id, name)

    def listing(self) -> list[Deleted]:
        """The deleted runs, the latest first."""
        try:
            with _opened(self.runs_dir) as runs, _opened(FOLDER, runs) as trash:
                ids = [id for id in os.listdir(trash) if _ENTRY.fullmatch(id)]
                found = [_deleted(id, name) for id in ids if (name := _run_in(trash, id))]
        except OSError:
            return []
        return sorted(found, key=lambda run: (run.deleted, run.id), reverse=True)

    def restore(self, id: str) -> str:
        """Move a deleted run back; its name, with a number if the old one is taken."""
        with self._writing(), self._entry(id) as (runs, trash, old):
            name, number = old, 2
            while _exists(runs, name):
                name, number = f"{old}-{number}", number + 1
            with _opened(id, trash) as entry:
                os.rename(old, name, src_dir_fd=entry, dst_dir_fd=runs)
            os.rmdir(id, dir_fd=trash)
        return name

    def remove(self, id: str) -> str:
        """Remove a deleted run for good; its name."""
        with self._writing(), self._entry(id) as (_, trash, name):
            # Removes links, and not what they point at.
            shutil.rmtree(id, dir_fd=trash)
        return name

    def expire(self) -> None:
        """Remove what was deleted more than DAYS days ago."""
        for run in self.listing():
            if run.expires < time.time():
                with suppress(ActFocusError):
                    self.remove(run.id)

    @contextmanager
    def _entry(self, id: str) -> Iterator[tuple[int, int, str]]:
        """Descriptors of the folder of runs and of the trash, and the name of the deleted run ``id``."""
        unknown = ActFocusError("this run is not among the deleted ones any more; open the list again")
        if not _ENTRY.fullmatch(id):
            raise unknown
        with _opened(self.runs_dir) as runs:
            try:
                with _opened(FOLDER, runs) as trash:
                    name = _run_in(trash, id)
                    if name is None:
                        raise unknown
                    yield runs, trash, name
            except (FileNotFoundError, NotADirectoryError):
                raise unknown from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ActFocusError(f"{self.runs_dir}: cannot be changed ({error.strerror or error})") from None


def check_name(name: str) -> None:
    """Raise ActFocusError for what cannot name a run."""
    if (
        not name
        or name != name.strip()
        or name[0] in ".-"
        or not name.isprintable()
        or "/" in name
        or "\\" in name
        or len(name) > NAME_MAX
        or len(os.fsencode(name)) > 2 * NAME_MAX
    ):
        raise ActFocusError(
            f"the name of a run: at most {NAME_MAX} printable characters, no slash, no dot or dash at the beginning, "
            "and no space at either end"
        )


@contextmanager
def _opened(folder: str | Path, inside: int | None = None) -> Iterator[int]:
    """The descriptor of a folder; a link is refused."""
    descriptor = os.open(folder, _OPEN, dir_fd=inside)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check_run(runs: int, name: str) -> None:
    """Raise ActFocusError unless this is a run folder directly inside ``runs``, and no link."""
    single = name == os.path.basename(name) and name[:1] not in ("", ".") and "\0" not in name
    try:
        mode = os.stat(name, dir_fd=runs, follow_symlinks=False).st_mode if single else 0
        if stat.S_ISLNK(mode):
            raise ActFocusError(f"{name}: is a link to a folder elsewhere; rename or delete it there")
        if not stat.S_ISDIR(mode):
            raise FileNotFoundError(errno.ENOENT, "no such folder")
        os.stat(f"{name}/run.json", dir_fd=runs, follow_symlinks=False)
    except FileNotFoundError:
        raise ActFocusError(f"{name[:NAME_MAX]}: there is no run of this name in the folder of runs") from None


def _check_free(runs: int, name: str) -> None:
    if _exists(runs, name):
        raise ActFocusError(f"{name}: there is a folder of this name already; choose another name")


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _run_in(trash: int, id: str) -> str | None:
    """The name of the deleted run in an entry of the trash; None if it holds anything else."""
    try:
        with _opened(id, trash) as entry:
            names = os.listdir(entry)
            [name] = names if len(names) == 1 else [""]
            if name[:1] in ("", ".") or not _is_folder(entry, name):
                return None
    except OSError:
        return None
    return name


def _deleted(id: str, name: str) -> Deleted:
    return Deleted(id, name, float(id.partition("-")[0]))


def _is_folder(folder: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
