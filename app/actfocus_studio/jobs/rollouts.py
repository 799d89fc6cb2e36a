"""Work in a process of its own: one of a kind at a time, and no page can take it down by closing."""

from __future__ import annotations

import atexit
import json
import math
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
from actfocus_core.oracle import stored
from actfocus_core.runs import Run, free_path, hidden_path
from actfocus_studio.data import models

ENVIRONMENTS = {
    "FrozenLake, slippery": ("frozen_lake", {"slippery": True}),
    "FrozenLake, deterministic": ("frozen_lake", {"slippery": False}),
    "Sokoban": ("sokoban", {}),
    "Sudoku": ("sudoku", {}),
    "WebShop": ("webshop", {}),
}
REFERENCES = ("tiny",)
"""Models that a page may score a run with: those that come with the package."""
VALUES = {"optimal": ["--no-policy"], "policy": [], "answers": ["--no-policy", "--answers"]}
"""What a page may have the oracle compute -> the options of ``actfocus oracle``."""
LEAST_RESAMPLES = 10
"""The page has its own intervals: those that the command prints are not looked at."""
PROMPTS, ROLLOUTS, TEMPERATURE, SEED, EXAMPLES = (1, 64), (2, 16), (0.1, 2.0), (0, 2**31 - 1), (0, 2)
READ_ONLY = (
    "this studio is for looking only: nothing is trained, rolled out or scored here; start your own with `actfocus app`"
)
PATIENCE = 3.0
"""Seconds between asking a process to end and killing it."""
RESULT_MAX = 2_000_000
"""Bytes of what a command prints that are read."""


@dataclass(frozen=True)
class Request:
    """What to roll out; every value is checked where it is made."""

    environment: str
    prompts: int
    rollouts: int
    seed: int
    temperature: float
    policy: str = "tiny"
    """One of ``models.installed``; checked where it is started."""
    examples: int = 0

    def __post_init__(self):
        if not isinstance(self.environment, str) or self.environment not in ENVIRONMENTS:
            raise ActFocusError(f"unknown environment; there are {', '.join(ENVIRONMENTS)}")
        for name, (low, high) in (
            ("prompts", PROMPTS),
            ("rollouts", ROLLOUTS),
            ("seed", SEED),
            ("temperature", TEMPERATURE),
            ("examples", EXAMPLES),
        ):
            value = getattr(self, name)
            whole = name != "temperature"
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not math.isfinite(value)
                or not low <= value <= high
                or (whole and value != int(value))
            ):
                raise ActFocusError(f"{name} must be a{' whole' if whole else ''} number from {low} to {high}")


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


class Rollouts(Worker):
    """The one rollout that may run."""

    def __init__(self, runs_dir: Path):
        super().__init__("a rollout is already running, perhaps from another page; wait for it or cancel it")
        self.runs_dir = Path(runs_dir).resolve()

    def start(self, request: Request) -> Status:
        """Start rolling out. Raises ActFocusError while another rollout runs, and for a policy that cannot be run here."""
        policy = models.chosen(request.policy, self.runs_dir)
        env, options = ENVIRONMENTS[request.environment]
        options = {**options, "examples": int(request.examples)} if request.examples else options
        pairs = [text for key, value in options.items() for text in ("--option", f"{key}={json.dumps(value)}")]
        out = free_path(self.runs_dir, env.replace("_", "-"))
        return self.launch(
            [
                "rollout",
                "--env",
                env,
                "--policy",
                policy.name,
                *pairs,
                "--prompts",
                str(int(request.prompts)),
                "--rollouts",
                str(int(request.rollouts)),
                "--seed",
                str(int(request.seed)),
                "--temperature",
                str(float(request.temperature)),
                "--out",
                str(out),
                "--score",
            ],
            out,
        )


class Signals(Worker):
    """The one piece of work on a run's signals that may run: scoring by a reference model, or the oracle's values."""

    def __init__(self, read_only: bool = False):
        super().__init__(
            "signals of a run are already being computed, perhaps from another page; wait for that or cancel it"
        )
        self.read_only = read_only

    def score(self, run: Run, name: str, reference: object) -> Status:
        """Score the run of this name. Raises ActFocusError for another reference than REFERENCES has, where the run
        cannot be written, while another work is done, and in a studio that is read only."""
        if reference not in REFERENCES:
            raise ActFocusError(f"unknown reference; there are {', '.join(REFERENCES)}")
        return self._begin(["score", "--reference", reference], run, name)

    def judge(self, run: Run, name: str, step: int, values: object) -> Status:
        """Compute the oracle's values of a step. Raises ActFocusError for others than VALUES has, where the run does not
        say what was played or cannot be written, or while another work is done."""
        if not isinstance(values, str) or values not in VALUES:
            raise ActFocusError(f"unknown values; there are {', '.join(VALUES)}")
        stored.env_options(run)
        return self._begin(
            ["oracle", "--step", str(step), "--bootstrap", str(LEAST_RESAMPLES), *VALUES[values]], run, name
        )

    def _begin(self, arguments: list[str], run: Run, name: str) -> Status:
        if self.read_only:
            raise ActFocusError(READ_ONLY)
        run.demand_writable()
        # An absolute path: whatever the run is called, it is no option.
        return self.launch([*arguments, str(run.path.resolve())], None, name)


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
