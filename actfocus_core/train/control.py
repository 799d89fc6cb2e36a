"""Communication with a run that trains in another process: requests to it, and its status.

control.json   {"request": "go" | "pause" | "stop"}     written by an observer
status.json    state, step, phase, message, ...          written by the run
.lock          held by the one process that trains here; the system frees it with the process
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal, get_args

from actfocus_core.errors import ActFocusError
from actfocus_core.files import LINE_MAX, is_locked, locked, open_to_change, read_json
from actfocus_core.paths import atomic_write

Request = Literal["go", "pause", "stop"]
STATES = ("running", "paused", "stopped", "finished", "failed")
_STATUS = {
    "state": str,
    "phase": str,
    "message": str,
    "step": int,
    "steps": int,
    "pid": int,
    "elapsed": float,
    "time": float,
    "time_budget": float,
}
PAUSE_POLL = 0.3
"""Interval in seconds at which control.json is polled while paused."""
LOCK_TRIES, LOCK_PAUSE = 5, 0.05
"""Number of attempts to lock a run, and the seconds between them."""
_LEFTOVER = re.compile(r"\..+\.(part|old|before)")
"""Names of the temporary files that a killed process may leave in a run folder."""
_WORD_MAX = 1 << 20
"""Largest size of control.json and status.json, in bytes."""


def request(run: Path, what: Request) -> None:
    """Request that a run pauses, continues or stops; it does so at the end of its current step.

    A stopped run can be resumed. Raises ActFocusError for any other request, where there is no run, or where its folder
    cannot be written.
    """
    if what not in get_args(Request):
        raise ActFocusError(f"request {what!r}: must be one of {', '.join(get_args(Request))}")
    if not (Path(run) / "run.json").is_file():
        raise ActFocusError(f"{run}: not a run folder, it has no run.json")
    try:
        _write(Path(run) / "control.json", {"request": what})
    except OSError as error:
        raise ActFocusError(
            f"{run}: cannot be written ({error.strerror}), so no request to {what} can be sent"
        ) from None


def requested(run: Path) -> Request:
    """The pending request; ``go`` if there is none or the file is not valid."""
    try:
        content: Any = read_json(run / "control.json", _WORD_MAX)
        what = content["request"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "go"
    requests: tuple[Request, ...] = get_args(Request)
    return next((request for request in requests if request == what), "go")


def write_status(run: Path, **status: object) -> None:
    """Replace status.json. Raises OSError where it cannot be written."""
    _write(run / "status.json", {**status, "pid": os.getpid(), "time": time.time()})


def read_status(run: Path) -> dict[str, Any]:
    """The last status that the run wrote; empty if there is none or the file is not valid.

    A status ``running`` or ``paused`` while no process holds the run's lock is returned as ``killed``.
    """
    try:
        status = read_json(Path(run) / "status.json", _WORD_MAX)
    except (OSError, ValueError, RecursionError):
        return {}
    if (
        not isinstance(status, dict)
        or not all(_fits(status.get(name), kind) for name, kind in _STATUS.items())
        or status.get("state") not in (None, *STATES)
    ):
        return {}
    if status.get("state") in ("running", "paused") and not _is_held(Path(run)):
        status["state"] = "killed"
    return status


def _fits(value: object, kind: type) -> bool:
    """Whether a value of a status is valid; a missing one is."""
    if kind is float:
        return value is None or (isinstance(value, (int, float)) and -(2.0**63) < value < 2.0**63)
    if kind is int:
        return value is None or (type(value) is int and 0 <= value < 2**31)
    return value is None or isinstance(value, kind)


def _write(file: Path, content: dict[str, object]) -> None:
    with atomic_write(file) as part:
        part.write_text(json.dumps(content) + "\n", encoding="utf-8")


@contextmanager
def training_lock(run: Path) -> Iterator[None]:
    """Hold the run's lock. Raises ActFocusError where another process trains here, and OSError where no lock can be held."""
    for _ in range(LOCK_TRIES):
        with locked(run / ".lock") as held:
            if held:
                yield
                return
        # A reader may hold it briefly, to check whether a trainer does.
        time.sleep(LOCK_PAUSE)
    raise ActFocusError(f"{run}: is being trained by another process; stop it first")


def clear(run: Path) -> None:
    """Delete the unfinished files of a killed process, and the request that was meant for it.

    A folder that it was replacing, ``.NAME.before``, is renamed back unless the new one has its name. Links are not followed.
    """
    (run / "control.json").unlink(missing_ok=True)
    for folder, folders, files in os.walk(run):
        for name in [name for name in (*folders, *files) if _LEFTOVER.fullmatch(name)]:
            leftover, before = Path(folder) / name, name.removesuffix(".before")[1:]
            if name.endswith(".before") and not os.path.lexists(Path(folder) / before):
                leftover.rename(Path(folder) / before)
            elif leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()
    file = run / "metrics.jsonl"
    if file.exists():
        with open_to_change(file) as stream:
            size = os.fstat(stream.fileno()).st_size
            start = stream.seek(max(0, size - LINE_MAX))
            end = stream.read(LINE_MAX).rfind(b"\n")
            if end < 0 and start:
                raise ActFocusError(
                    f"{file}: its last line has more than {LINE_MAX:,} bytes, so it is not a metrics file"
                )
            stream.truncate(start + end + 1)


def _is_held(run: Path) -> bool:
    """Whether a process holds the run's lock; assumed if the lock file is not readable."""
    try:
        return is_locked(run / ".lock")
    except PermissionError:
        return True
    except OSError:
        # A link or a special file cannot have been locked by a trainer.
        return False


class Interrupt:
    """Whether SIGINT or SIGTERM requested a stop. The second SIGINT raises KeyboardInterrupt."""

    asked = False

    @contextmanager
    def listening(self) -> Iterator[Interrupt]:
        """Handle the two signals within a block; only in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {s: signal.signal(s, self._take) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
