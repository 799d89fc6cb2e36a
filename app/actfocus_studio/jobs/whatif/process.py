"""The worker process that computes what-ifs: started on demand, and kept alive with the policy loaded."""

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

BUSY = "another what-if is being computed, possibly started from another page; wait for it or cancel it"


@dataclass
class WhatIfJob(Status):
    """The progress of a what-if, and the id of its result."""

    kind: str = ""
    answer: str = ""
    """Id of the what-if, once it is complete."""
    kept: bool = True
    """Whether the result is stored in the run's folder. If not, it is deleted when the studio ends."""
    seconds: float = 0.0
    """Since the request."""
    first: str = ""
    """Id of the what-if, once a partial result is available."""
    first_seconds: float = 0.0
    """From the request to the partial result."""


class WhatIfProcess:
    """Computes one what-if at a time, for all pages. Thread-safe."""

    def __init__(self):
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._status = WhatIfJob()
        self._count, self._began = 0, 0.0
        self._spare = Path(tempfile.mkdtemp(prefix="actfocus-whatif-"))
        atexit.register(self.close)

    def warm(self) -> None:
        """Start the process ahead of the first request, which then does not wait for torch and the policy."""
        with self._lock:
            self._ensure()

    def start(self, run: Run, name: str, kind: str, arguments: dict) -> WhatIfJob:
        """Start computing a what-if.

        ``name``: the name of the run on the pages; ``arguments``: those of the library function for ``kind``. Raises
        ActFocusError while another what-if is computed.
        """
        with self._lock:
            if self._status.state == "running":
                raise ActFocusError(BUSY)
            process = self._ensure()
            self._count, self._began = self._count + 1, time.monotonic()
            self._status = WhatIfJob("running", f"{name}-{self._count}", name, kind=kind)
            line = json.dumps({"run": str(run.path), "kind": kind, "arguments": arguments, "spare": str(self._spare)})
            try:
                process.stdin.write(line + "\n")
                process.stdin.flush()
            except OSError:
                self._ended(process, "the process is not responding; try again")
        return self.status()

    def status(self) -> WhatIfJob:
        """A copy of the current status."""
        with self._lock:
            return WhatIfJob(**asdict(self._status))

    def cancel(self) -> None:
        """Cancel the running computation, if any."""
        with self._lock:
            if self._status.state == "running":
                self._status.state, self._status.message = "cancelled", "cancelled; nothing was kept"
                processes.end(self._process, 0.0)
                self._process = None

    def close(self) -> None:
        """Terminate the process and delete temporary results."""
        self.cancel()
        if self._process:
            processes.end(self._process, 0.0)
        shutil.rmtree(self._spare, ignore_errors=True)

    def spare(self, run: Run) -> Path:
        """Folder of complete results that could not be stored in the run."""
        return spare_of(run, self._spare)

    def first(self, run: Run) -> Path:
        """Folder of partial results."""
        return spare_of(run, self._spare, FIRST)

    def _ensure(self) -> subprocess.Popen[str]:
        """The process, started if it is not running. The lock is held."""
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

    def _follow(self, process: subprocess.Popen[str]) -> None:
        """Update the status from the messages of the process until it ends."""
        errors: deque[str] = deque(maxlen=20)
        threading.Thread(
            target=lambda: errors.extend(line.strip() for line in process.stderr if line.strip()), daemon=True
        ).start()
        for line in process.stdout:
            with self._lock:
                if process is self._process:
                    self._take(json.loads(line))
        process.wait()
        with self._lock:
            if process is self._process:
                code = process.returncode
                self._ended(process, errors[-1][:500] if errors and code > 0 else how_it_ended(code))

    def _ended(self, process: subprocess.Popen[str], message: str) -> None:
        """Mark the running job as failed: the process has ended. The lock is held."""
        self._process = None
        if self._status.state == "running":
            self._status.state, self._status.message = "failed", message

    def _take(self, message: dict) -> None:
        """Update the status from one message (see worker.py). The lock is held."""
        status = self._status
        if status.state != "running":
            return
        status.seconds = round(time.monotonic() - self._began, 2)
        if "error" in message:
            status.state, status.message = "failed", message["error"]
        elif "first" in message:
            status.first, status.first_seconds = message["first"], status.seconds
        elif "id" in message:
            status.state, status.answer, status.kept = "done", message["id"], message["kept"]
        elif "phase" in message:
            status.phase, status.done, status.total = message["phase"], message["done"], message["total"]
