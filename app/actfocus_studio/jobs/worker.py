"""One process of the ``actfocus`` command at a time: started, followed, cancelled. No page can take it down by closing."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from actfocus_core import processes
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import hidden_path

READ_ONLY = (
    "this studio is for looking only: nothing is trained, rolled out or scored here; start your own with `actfocus app`"
)
PATIENCE = 3.0
"""Seconds between asking a process to end and killing it."""
RESULT_MAX = 2_000_000
"""Bytes of what a command prints that are read."""


@dataclass
class Status:
    """How far the work is: what every page that looks is shown."""

    state: str = "idle"
    """idle | running | done | failed | cancelled"""
    id: str = ""
    run: str = ""
    """The name of what is made or worked on."""
    phase: str = "starting"
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    message: str = ""


@dataclass
class _Job:
    process: subprocess.Popen
    out: Path | None
    """What it makes, of which nothing stays where it fails."""
    status: Status
    printed: IO[bytes]
    """What the command writes to its output: a file, which cannot fill up as a pipe does."""
    fine: tuple[int, ...]
    result: dict | None = None
    phase_began: float = field(default_factory=time.monotonic)
    complaints: deque = field(default_factory=lambda: deque(maxlen=20))
    cancelled: bool = False


class Worker:
    """One process of the ``actfocus`` command at a time, whoever started it."""

    def __init__(self, busy: str):
        self._busy = busy
        self._lock = threading.Lock()
        self._job: _Job | None = None
        atexit.register(self.cancel)

    def launch(
        self,
        arguments: list[str],
        out: Path | None,
        name: str = "",
        cwd: Path | None = None,
        fine: tuple[int, ...] = (0,),
    ) -> Status:
        """Start the command with these arguments; ``out``: what it makes; ``fine``: its exit codes of success.

        ``name``: how the status calls it; by default ``out``'s name.

        Raises ActFocusError, ``busy``, while another one runs.
        """
        with self._lock:
            if self._job and self._job.status.state == "running":
                raise ActFocusError(self._busy)
            printed = tempfile.TemporaryFile()  # noqa: SIM115 - read and closed when the process has ended
            process = processes.start(
                processes.python("actfocus_core.cli", *arguments, "--progress", "jsonl"),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                cwd=cwd,
            )
            name = name or out.name
            self._job = _Job(process, out, Status("running", f"{name}-{process.pid}", name), printed, fine)
        threading.Thread(target=self._follow, args=[self._job], daemon=True).start()
        return self.status()

    def status(self) -> Status:
        """A copy of where things stand."""
        return Status(**asdict(self._job.status)) if self._job else Status()

    def result(self) -> dict | None:
        """What the command printed with ``--json``, once it is done."""
        return self._job.result if self._job else None

    def cancel(self) -> None:
        """End what is running, if anything, and leave nothing of it behind."""
        job = self._job
        if job and job.process.poll() is None:
            job.cancelled = True
            processes.end(job.process, PATIENCE)

    def _follow(self, job: _Job) -> None:
        """Read the command's progress until it ends."""
        for line in job.process.stderr:
            self._take(job, line)
        code = job.process.wait()
        job.result = _printed(job.printed)
        if code and job.out:
            # Killed in the middle of writing: what had not appeared yet. A run that is there stays.
            shutil.rmtree(hidden_path(job.out, job.process.pid), ignore_errors=True)
        status = job.status
        if job.cancelled:
            status.message, status.state = "cancelled; nothing was kept", "cancelled"
        elif code not in job.fine:
            last = job.complaints[-1] if job.complaints and code > 0 else how_it_ended(code)
            status.message, status.state = last.removeprefix("actfocus: "), "failed"
        else:
            status.state = "done"

    def _take(self, job: _Job, line: str) -> None:
        try:
            report = json.loads(line)
            phase, done, total = str(report["phase"]), int(report["done"]), int(report["total"])
        except (ValueError, TypeError, LookupError):
            if line.strip():
                job.complaints.append(line.strip()[:500])
            return
        status = job.status
        if phase != status.phase:
            status.phase, job.phase_began = phase, time.monotonic()
        status.done, status.total = done, total
        if done:
            status.seconds_left = (time.monotonic() - job.phase_began) / done * (total - done)


def _printed(file: IO[bytes]) -> dict | None:
    """The object of JSON a command printed; None where it printed none."""
    with file:
        file.seek(0)
        try:
            value = json.loads(file.read(RESULT_MAX))
        except ValueError:
            return None
    return value if isinstance(value, dict) else None


def how_it_ended(code: int) -> str:
    """A process's exit code, in words; negative: the signal that killed it."""
    if code >= 0:
        return f"its process ended with code {code}"
    name = signal.Signals(-code).name
    return f"its process was killed ({name})" + (
        "; where nobody did that, the machine's memory was spent" if name == "SIGKILL" else ""
    )


def give_way(process: subprocess.Popen) -> None:
    """Let everything else on the machine go before this process, the page first of all."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, process.pid, 10)
