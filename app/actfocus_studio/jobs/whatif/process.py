"""The one process that answers what-ifs: it stays, with the policy loaded, so that an answer takes seconds."""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

from actfocus_core import processes
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_studio.jobs.whatif.worker import FIRST, spare_of
from actfocus_studio.jobs.worker import Status, how_it_ended

BUSY = "another what-if is being worked on, perhaps from another page; wait for it or cancel it"


@dataclass
class Answering(Status):
    """How far the work is, and the answer: ``run`` is the run's name."""

    kind: str = ""
    answer: str = ""
    """The what-if's id, once it is done."""
    kept: bool = True
    """It lies in the run's folder; else it is there only as long as the studio runs."""
    seconds: float = 0.0
    first: str = ""
    """The what-if's id, once a part of its answer is there."""
    first_seconds: float = 0.0


class WhatIfProcess:
    """One request at a time, whoever made it. Safe to use from several threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._status = Answering()
        self._count, self._began = 0, 0.0
        self._spare = Path(tempfile.mkdtemp(prefix="actfocus-whatif-"))
        atexit.register(self.close)

    def warm(self) -> None:
        """Have the process loaded before somebody asks."""
        with self._lock:
            self._ensure()

    def start(self, run: Run, name: str, kind: str, asked: dict) -> Answering:
        """Ask a question about the run of this name. Raises ActFocusError while another one is worked on."""
        with self._lock:
            if self._status.state == "running":
                raise ActFocusError(BUSY)
            process = self._ensure()
            self._count, self._began = self._count + 1, time.monotonic()
            self._status = Answering("running", f"{name}-{self._count}", name, kind=kind)
            line = json.dumps({"run": str(run.path), "kind": kind, "asked": asked, "spare": str(self._spare)})
            try:
                process.stdin.write(line + "\n")
                process.stdin.flush()
            except OSError:
                self._ended(process, "its process could not be reached; try again")
        return self.status()

    def status(self) -> Answering:
        """A copy of where things stand."""
        with self._lock:
            return Answering(**asdict(self._status))

    def cancel(self) -> None:
        """End what is worked on, if anything."""
        with self._lock:
            if self._status.state == "running":
                self._status.state, self._status.message = "cancelled", "cancelled; nothing was kept"
                processes.end(self._process, 0.0)
                self._process = None

    def close(self) -> None:
        """End the process; what could not be kept in its run is gone."""
        self.cancel()
        if self._process:
            processes.end(self._process, 0.0)
        shutil.rmtree(self._spare, ignore_errors=True)

    def spare(self, run: Run) -> Path:
        """Where answers lie whose run could not be written."""
        return spare_of(run, self._spare)

    def first(self, run: Run) -> Path:
        """Where answers lie of which a part is there."""
        return spare_of(run, self._spare, FIRST)

    # --- the process ---------------------------------------------------------------------

    def _ensure(self) -> subprocess.Popen:
        if self._process is None or self._process.poll() is not None:
            self._process = processes.start(
                processes.python("actfocus_studio.jobs.whatif.worker"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
            threading.Thread(target=self._follow, args=[self._process], daemon=True).start()
        return self._process

    def _follow(self, process: subprocess.Popen) -> None:
        """Take what the process says until it ends."""
        complaints: deque = deque(maxlen=20)
        threading.Thread(
            target=lambda: complaints.extend(line.strip() for line in process.stderr if line.strip()), daemon=True
        ).start()
        for line in process.stdout:
            with self._lock:
                if process is self._process:
                    self._take(json.loads(line))
        process.wait()
        with self._lock:
            if process is self._process:
                code = process.returncode
                self._ended(process, complaints[-1][:500] if complaints and code > 0 else how_it_ended(code))

    def _ended(self, process: subprocess.Popen, message: str) -> None:
        self._process = None
        if self._status.state == "running":
            self._status.state, self._status.message = "failed", message

    def _take(self, said: dict) -> None:
        status = self._status
        if status.state != "running":
            return
        status.seconds = round(time.monotonic() - self._began, 2)
        if "error" in said:
            status.state, status.message = "failed", said["error"]
        elif "first" in said:
            status.first, status.first_seconds = said["first"], status.seconds
        elif "id" in said:
            status.state, status.answer, status.kept = "done", said["id"], said["kept"]
        elif "phase" in said:
            status.phase, status.done, status.total = said["phase"], said["done"], said["total"]
