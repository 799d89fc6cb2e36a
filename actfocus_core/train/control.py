"""Talking to a run that trains in another process: requests to it, and word from it.

    control.json   {"request": "go" | "pause" | "stop"}     written by whoever watches
    status.json    state, step, phase, message, ...          written by the run
    .lock          held by the one process that trains here; the system frees it with the process
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from actfocus_core.errors import ActFocusError
from actfocus_core.paths import appearing

Request = Literal["go", "pause", "stop"]
STATES = ("running", "paused", "stopped", "finished", "failed")
_STATUS = {"state": str, "phase": str, "message": str, "step": int, "steps": int, "pid": int, "elapsed": float, "time": float,
           "time_budget": float}
PAUSE_POLL = 0.3
"""Seconds between looks at control.json while paused."""


def request(run: Path, what: Request) -> None:
    """Ask the run in a folder to pause, go on, or stop; it answers at the end of its step.

    A stopped run can be resumed. Raises ActFocusError for another word, where there is no run, or where
    its folder cannot be written.
    """
    if what not in get_args(Request):
        raise ActFocusError(f"request {what!r}: must be one of {', '.join(get_args(Request))}")
    if not (Path(run) / "run.json").is_file():
        raise ActFocusError(f"{run}: not a run folder, it has no run.json")
    try:
        _write(Path(run) / "control.json", {"request": what})
    except OSError as error:
        raise ActFocusError(f"{run}: cannot be written ({error.strerror}), so the run cannot be asked to {what}") from None


def requested(run: Path) -> Request:
    """What is asked of the run now; ``go`` where nothing is or what stands there is not a request."""
    try:
        what = json.loads((run / "control.json").read_text(encoding="utf-8"))["request"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "go"
    return what if isinstance(what, str) and what in get_args(Request) else "go"


def write_status(run: Path, **status) -> None:
    """Replace status.json. Raises OSError where it cannot be written."""
    _write(run / "status.json", {**status, "pid": os.getpid(), "time": time.time()})


def read_status(run: Path) -> dict:
    """What the run last said of itself; empty where it never did, or where what stands there is no status.

    A run that says ``running`` or ``paused`` while no process holds its lock was killed: its state
    reads ``killed``.
    """
    try:
        status = json.loads((Path(run) / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(status, dict) or not all(_fits(status.get(name), kind) for name, kind in _STATUS.items()) \
            or status.get("state") not in (None, *STATES):
        return {}
    if status.get("state") in ("running", "paused") and not _locked(Path(run)):
        status["state"] = "killed"
    return status


def _fits(value: object, kind: type) -> bool:
    """Whether a value of a status can be used; a missing one can."""
    if kind is float:
        return value is None or (isinstance(value, (int, float)) and -2.0**63 < value < 2.0**63)
    if kind is int:
        return value is None or (type(value) is int and 0 <= value < 2**31)
    return value is None or isinstance(value, kind)


def _write(file: Path, content: dict) -> None:
    with appearing(file) as part:
        part.write_text(json.dumps(content) + "\n", encoding="utf-8")


@contextmanager
def the_only_trainer(run: Path):
    """Hold the run's lock. Raises ActFocusError where another process trains here."""
    import fcntl

    with open(run / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ActFocusError(f"{run}: is being trained by another process; ask it to stop first") from None
        yield


def clear(run: Path) -> None:
    """Take away what a killed process left half done, and a request that was meant for it."""
    (run / "control.json").unlink(missing_ok=True)
    for leftover in [*run.glob(".*.part"), *run.glob("*/.*.part"), *run.glob("*/.*.old")]:
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    file = run / "metrics.jsonl"
    if file.exists():
        with open(file, "rb+") as stream:
            whole = stream.read().rfind(b"\n") + 1
            if whole != os.fstat(stream.fileno()).st_size:
                stream.truncate(whole)


def _locked(run: Path) -> bool:
    import fcntl

    try:
        with open(run / ".lock") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


class Interrupt:
    """Whether SIGINT or SIGTERM asked to stop. The second SIGINT is an ordinary KeyboardInterrupt."""

    asked = False

    @contextmanager
    def listening(self):
        """Take the two signals over for the time of a block; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {s: signal.signal(s, self._take) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number, frame) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
