"""The queue of experiments, and the one slot in which their runs are trained, each in a process of its own."""

from __future__ import annotations

import atexit
import subprocess
import threading
import time
from pathlib import Path
from typing import IO

from actfocus_core import processes
from actfocus_core.errors import ActFocusError
from actfocus_core.files import open_to_append
from actfocus_core.train import read_status, request
from actfocus_core.train.control import requested
from actfocus_studio.jobs.experiments import command
from actfocus_studio.jobs.experiments.estimate import expected, rates
from actfocus_studio.jobs.experiments.request import ExperimentRequest
from actfocus_studio.jobs.experiments.state import state_of
from actfocus_studio.jobs.experiments.store import Store
from actfocus_studio.jobs.rollouts import ENVIRONMENTS
from actfocus_studio.jobs.worker import give_way

POLL = 0.5
"""Seconds between looks at the slot."""


class Queue:
    """The experiments that this studio keeps going, and the processes it has begun for them."""

    def __init__(self, runs_dir: Path):
        self.store = Store(runs_dir)
        self.runs_dir, self.folder = self.store.runs_dir, self.store.folder
        self._lock = threading.Lock()
        self._going: list[str] = []
        """Experiments that this studio keeps going, in the order of the queue."""
        self._processes: dict[str, subprocess.Popen] = {}
        self._before: dict[str, object] = {}
        """Name of a run -> the process that wrote its status before ours was started."""
        self._thread: threading.Thread | None = None
        atexit.register(self.close)

    def close(self) -> None:
        """Ask what this studio trains to stop, so that it can be resumed: the studio ends in good order."""
        with self._lock:
            self._going.clear()
        for name, process in self._processes.items():
            if process.poll() is None:
                try:
                    request(self.runs_dir / name, "stop")
                except (ActFocusError, OSError):
                    process.terminate()

    def estimate(self, asked: ExperimentRequest) -> dict:
        """Steps of each run and seconds of the experiment (``estimate.expected``), from the rates measured last."""
        (step, evaluation), measured = self.rates(ENVIRONMENTS[asked.environment][0], asked.algorithm, asked.policy)
        return {**expected(asked, step, evaluation), "measured": measured}

    def rates(self, env: str, algorithm: str, policy: str) -> tuple[tuple[float, float], bool]:
        """Seconds a step and an evaluation, and whether they were measured (``estimate.rates``)."""
        return rates(self.runs_dir, env, algorithm, policy)

    def _forget_ended(self, name: str) -> None:
        if name in self._processes and self._processes[name].poll() is not None:
            del self._processes[name]

    def _work(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._loop, daemon=True)
                self._thread.start()

    def _loop(self) -> None:
        """Begin the next run whenever the slot is free, until there is none left."""
        while True:
            with self._lock:
                try:
                    stopping = self._obey_stops()
                    self._going = [id for id in self._going if self._pending(id)]
                    if self._going and not self._busy():
                        self.store.demand_disk()
                        self._begin_next()
                except (ActFocusError, OSError):
                    # The experiments wait: who presses Go on is told why.
                    self._going.clear()
                    return
                if not self._going and not stopping:
                    return
            time.sleep(POLL)

    def _obey_stops(self) -> bool:
        """Let go of what was stopped, here or in another studio. Returns whether a process of it has still to be told."""
        self._going = [id for id in self._going if not self.store.stop_file(id).exists()]
        stopping = False
        for race in self._all():
            if self.store.stop_file(race["id"]).exists():
                for run in race["runs"]:
                    process, path = self._processes.get(run["name"]), self.runs_dir / run["name"]
                    if process is not None and process.poll() is None:
                        stopping = True
                        # One that was just starting took the request away with those of earlier processes.
                        if read_status(path).get("state") in ("running", "paused") and requested(path) != "stop":
                            request(path, "stop")
        return stopping

    def _begin_next(self) -> None:
        """Begin the next run if the slot is free."""
        with self.store.locked(".slot") as slot:
            # Only now: another studio may just have trained what was to be begun.
            if slot is None or self._busy() or not (pending := self._pending(id := self._going[0])):
                return
            self._spawn(self.store.race(id), pending[0], slot)

    def _waiting(self) -> float:
        """Seconds of training still to be done in the experiments that are kept going."""
        total = 0.0
        for id in list(self._going):
            if left := len(self._pending(id)):
                race = self.store.race(id)
                total += self.estimate(ExperimentRequest(**race["request"]))["seconds"] * left / len(race["runs"])
        return total

    def _pending(self, id: str) -> list[dict]:
        """The runs of an experiment that are not done: not begun, stopped or killed, and what is being trained."""
        try:
            race = self.store.race(id)
        except ActFocusError:
            return []
        return [run for run in race["runs"] if self._state(race, run)["state"] not in ("finished", "failed")]

    def _queue(self) -> list[str]:
        """Names of the runs that wait for the slot, the next one first."""
        return [
            run["name"]
            for id in list(self._going)
            for run in self._pending(id)
            if self._state(self.store.race(id), run)["state"] == "queued"
        ]

    def _busy(self) -> bool:
        """Whether any process trains here, begun by this studio or by another."""
        if any(process.poll() is None for process in self._processes.values()):
            return True
        return any(
            read_status(self.runs_dir / run["name"]).get("state") in ("running", "paused")
            for race in self._all()
            for run in race["runs"]
        )

    def _spawn(self, race: dict, run: dict, slot: IO) -> None:
        """Begin a run, or resume it, in a process that keeps the slot locked as long as it lives."""
        path = self.runs_dir / run["name"]
        if path.exists():
            request(path, "go")
            words = processes.python("actfocus_core.cli", *command.resuming(path), *command.QUIET)
        else:
            words = self._command(race, run)
        with open_to_append(self.store.log(run["name"])) as log:
            self._before[run["name"]] = read_status(path).get("pid")
            self._processes[run["name"]] = processes.start(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[slot.fileno()]
            )
        give_way(self._processes[run["name"]])

    def _command(self, race: dict, run: dict) -> list[str]:
        return processes.python(
            "actfocus_core.cli", *self._arguments(race, run, self.runs_dir / run["name"]), *command.QUIET
        )

    def _arguments(self, race: dict, run: dict, out: Path) -> list[str]:
        return command.training(race, run, out)

    def _all(self) -> list[dict]:
        return self.store.all()

    def _state(self, race: dict, run: dict) -> dict:
        """What a page is told of a run (``state_of``)."""
        name = run["name"]
        status = read_status(self.runs_dir / name)
        process, before, going = self._processes.get(name), self._before.get(name), race["id"] in self._going
        return state_of(status, race["steps"], process, before, going, self.store.log(name))
