"""The queue of experiments, and the single slot in which their runs are trained, each in a separate process."""

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
"""Seconds between checks of the slot."""


class Queue:
    """The experiments that this studio runs, and the processes it has started for them."""

    def __init__(self, runs_dir: Path):
        self.store = Store(runs_dir)
        self.runs_dir, self.folder = self.store.runs_dir, self.store.folder
        self._lock = threading.Lock()
        self._going: list[str] = []
        """Ids of the experiments that this studio runs, in queue order."""
        self._processes: dict[str, subprocess.Popen] = {}
        self._before: dict[str, object] = {}
        """Name of a run -> pid in its status before our process was started."""
        self._thread: threading.Thread | None = None
        atexit.register(self.close)

    def close(self) -> None:
        """Stop all training of this studio so that it can be resumed; called when the studio exits."""
        with self._lock:
            self._going.clear()
        for name, process in self._processes.items():
            if process.poll() is None:
                try:
                    request(self.runs_dir / name, "stop")
                except (ActFocusError, OSError):
                    process.terminate()

    def estimate(self, wanted: ExperimentRequest) -> dict:
        """``estimate.expected`` with the latest rates, and whether these were measured."""
        (step, evaluation), measured = self.rates(ENVIRONMENTS[wanted.environment][0], wanted.algorithm, wanted.policy)
        return {**expected(wanted, step, evaluation), "measured": measured}

    def rates(self, env: str, algorithm: str, policy: str) -> tuple[tuple[float, float], bool]:
        """Seconds per step and per evaluation, and whether they were measured (``estimate.rates``)."""
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
        """Start the next run whenever the slot is free, until none is left."""
        while True:
            with self._lock:
                try:
                    stopping = self._obey_stops()
                    self._going = [id for id in self._going if self._pending(id)]
                    if self._going and not self._busy():
                        self.store.require_disk_space()
                        self._begin_next()
                except (ActFocusError, OSError):
                    # The experiments are suspended; resuming them reports the reason.
                    self._going.clear()
                    return
                if not self._going and not stopping:
                    return
            time.sleep(POLL)

    def _obey_stops(self) -> bool:
        """Drop stopped experiments; return whether a process still has to be asked to stop."""
        self._going = [id for id in self._going if not self.store.stop_file(id).exists()]
        stopping = False
        for race in self._all():
            if self.store.stop_file(race["id"]).exists():
                for run in race["runs"]:
                    process, path = self._processes.get(run["name"]), self.runs_dir / run["name"]
                    if process is not None and process.poll() is None:
                        stopping = True
                        # A process that was just starting has cleared the request.
                        if read_status(path).get("state") in ("running", "paused") and requested(path) != "stop":
                            request(path, "stop")
        return stopping

    def _begin_next(self) -> None:
        """Start the next run if the slot is free."""
        with self.store.locked(".slot") as slot:
            # Checked with the slot locked: another studio may just have trained this run.
            if slot is None or self._busy() or not (pending := self._pending(id := self._going[0])):
                return
            self._spawn(self.store.race(id), pending[0], slot)

    def _waiting(self) -> float:
        """Estimated seconds of training left in the queue."""
        total = 0.0
        for id in list(self._going):
            if left := len(self._pending(id)):
                race = self.store.race(id)
                total += self.estimate(ExperimentRequest(**race["request"]))["seconds"] * left / len(race["runs"])
        return total

    def _pending(self, id: str) -> list[dict]:
        """The runs of an experiment that have neither finished nor failed."""
        try:
            race = self.store.race(id)
        except ActFocusError:
            return []
        return [run for run in race["runs"] if self._state(race, run)["state"] not in ("finished", "failed")]

    def _queue(self) -> list[str]:
        """Names of the queued runs, the next one first."""
        return [
            run["name"]
            for id in list(self._going)
            for run in self._pending(id)
            if self._state(self.store.race(id), run)["state"] == "queued"
        ]

    def _busy(self) -> bool:
        """Whether a run is being trained in this folder, by this studio or another."""
        if any(process.poll() is None for process in self._processes.values()):
            return True
        return any(
            read_status(self.runs_dir / run["name"]).get("state") in ("running", "paused")
            for race in self._all()
            for run in race["runs"]
        )

    def _spawn(self, race: dict, run: dict, slot: IO) -> None:
        """Start or resume a run in a process that holds the lock of the slot for its lifetime."""
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
        """The state of a run (``state_of``)."""
        name = run["name"]
        status = read_status(self.runs_dir / name)
        process, before, going = self._processes.get(name), self._before.get(name), race["id"] in self._going
        return state_of(status, race["steps"], process, before, going, self.store.log(name))
