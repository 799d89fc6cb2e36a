"""A single ``actfocus`` process at a time: started, followed and cancelled, independent of any page."""

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
from actfocus_core.runs import temporary_path

READ_ONLY = "this studio is read-only: it cannot train, roll out or score; start your own with `actfocus app`"
CLI = "actfocus_core.cli"
PATIENCE = 3.0
"""Seconds between SIGTERM and SIGKILL."""
AWAITED = 4
"""Niceness of a job that a person waits for: behind the pages, and not far behind other programs."""
RESULT_MAX = 2_000_000
"""Maximum number of bytes read from a command's output."""


@dataclass
class Status:
    """The progress of a job, as shown on every page."""

    state: str = "idle"
    """idle | running | done | failed | cancelled"""
    id: str = ""
    run: str = ""
    """Name of the run that is created or processed."""
    phase: str = "starting"
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    message: str = ""


@dataclass
class _Job:
    process: subprocess.Popen
    out: Path | None
    """The output path; removed if the job fails."""
    status: Status
    printed: IO[bytes]
    """The command's standard output: a file, because a pipe could fill up."""
    fine: tuple[int, ...]
    result: dict | None = None
    phase_began: float = field(default_factory=time.monotonic)
    complaints: deque = field(default_factory=lambda: deque(maxlen=20))
    cancelled: bool = False
    follower: threading.Thread | None = None


class Worker:
    """A single ``actfocus`` process at a time, shared by all pages."""

    def __init__(self, busy: str, kept: str = "nothing was kept", gives_way: bool = False):
        """``busy``: the error while a job runs. ``kept``: what is left of a job that was cancelled. ``gives_way``: jobs have a
        low priority, so that they may use all cores."""
        self._busy, self._kept, self._gives_way = busy, kept, gives_way
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
        module: str = CLI,
    ) -> Status:
        """Start the command with these arguments.

        ``out``: its output path; ``name``: its name in the status, by default that of ``out``; ``fine``: exit codes that
        count as success. ``module``: what is run in place of the command; it reports progress as the command does.
        Raises ActFocusError while another job runs.
        """
        with self._lock:
            if self._job and self._job.status.state == "running":
                raise ActFocusError(self._busy)
            printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
            process = processes.start(
                processes.python(module, *arguments, *(("--progress", "jsonl") if module == CLI else ())),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                cwd=cwd,
            )
            if self._gives_way:
                give_way(process, AWAITED)
            name = name or out.name
            self._job = _Job(process, out, Status("running", f"{name}-{process.pid}", name), printed, fine)
            self._job.follower = threading.Thread(target=self._follow, args=[self._job], daemon=True)
            self._job.follower.start()
        return self.status()

    def status(self) -> Status:
        """A copy of the current status."""
        return Status(**asdict(self._job.status)) if self._job else Status()

    def result(self) -> dict | None:
        """The JSON object that the command printed, once it is done."""
        return self._job.result if self._job else None

    def cancel(self) -> None:
        """End the running job, if any, and remove its output."""
        job = self._job
        if job and job.process.poll() is None:
            job.cancelled = True
            processes.end(job.process, PATIENCE)
        if job and job.follower:
            job.follower.join(PATIENCE)

    def _follow(self, job: _Job) -> None:
        """Read the command's progress until it ends."""
        for line in job.process.stderr:
            self._take(job, line)
        code = job.process.wait()
        job.result = _printed(job.printed)
        if code and job.out:
            # Partial output of a killed process. A run that is complete is kept.
            shutil.rmtree(temporary_path(job.out, job.process.pid), ignore_errors=True)
        status = job.status
        self._ended(status, job.result)
        if job.cancelled:
            status.message, status.state = f"cancelled; {self._kept}", "cancelled"
        elif code not in job.fine:
            last = job.complaints[-1] if job.complaints and code > 0 else how_it_ended(code)
            status.message, status.state = last.removeprefix("actfocus: "), "failed"
        else:
            status.state = "done"

    def _ended(self, status: Status, result: dict | None) -> None:
        """Called when a process has ended, before its status says so. ``result``: what it printed."""

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
    """The JSON object that a command printed; None where it printed none."""
    with file:
        file.seek(0)
        try:
            value = json.loads(file.read(RESULT_MAX))
        except ValueError:
            return None
    return value if isinstance(value, dict) else None


def how_it_ended(code: int) -> str:
    """An exit code in words; negative: the signal that killed the process."""
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"its process was killed ({name})" + (
        "; if nobody did this, the machine ran out of memory" if name == "SIGKILL" else ""
    )


def give_way(process: subprocess.Popen, niceness: int = 10) -> None:
    """Lower the priority of a process, so that the pages stay responsive."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, process.pid, niceness)
