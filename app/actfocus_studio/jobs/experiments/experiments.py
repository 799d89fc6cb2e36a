"""Operations on experiments: start, list, inspect, pause, resume and stop."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.files import check_no_link, create_empty
from actfocus_core.runs import Run
from actfocus_core.train import read_status, request
from actfocus_studio.data import models
from actfocus_studio.jobs.experiments import command
from actfocus_studio.jobs.experiments.columns import columns
from actfocus_studio.jobs.experiments.log import LOG_MAX, tail
from actfocus_studio.jobs.experiments.queue import Queue
from actfocus_studio.jobs.experiments.request import ExperimentRequest
from actfocus_studio.jobs.rollouts import ENVIRONMENTS
from actfocus_studio.jobs.worker import READ_ONLY

QUEUE_MAX = 4 * 3600
"""Maximum seconds of training in the queue."""
ROWS_MAX = 1000
"""Maximum number of rows of metrics per run in one answer; the page requests the rest at once."""


class Experiments(Queue):
    """All experiments in a folder of runs, and the single slot in which their runs are trained."""

    def __init__(self, runs_dir: Path, read_only: bool = False):
        super().__init__(runs_dir)
        self.read_only = read_only

    def start(self, wanted: ExperimentRequest) -> str:
        """Queue an experiment and return its id.

        Raises ActFocusError where the queue or the disk is nearly full, for a policy that cannot be trained here, and in
        a read-only studio.
        """
        self._require_writable()
        models.chosen(wanted.policy, self.runs_dir)
        waiting = self._waiting()
        if waiting + self.estimate(wanted)["seconds"] > QUEUE_MAX:
            raise ActFocusError(
                f"{waiting / 60:.0f} minutes of training are in the queue, and this experiment would exceed the limit of "
                f"{QUEUE_MAX // 3600} hours; wait, stop an experiment, or request less time"
            )
        with self._lock, self.store.writing():
            check_no_link(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            self.store.require_disk_space()
            env, _ = ENVIRONMENTS[wanted.environment]
            expected = self.estimate(wanted)
            with self.store.locked(".lock", wait=True):
                id = self.store.free_id(f"experiment-{env.replace('_', '-')}")
                runs = [
                    {"name": f"{id}-{scheme.replace('_', '-')}-s{seed}", "scheme": scheme, "seed": seed}
                    for seed in range(wanted.seeds)
                    for scheme in wanted.schemes
                ]
                # Newer than all others, even if the clock was set back.
                made = max([time.time(), *(race["made"] + 1e-3 for race in self._all())])
                race = {
                    "id": id,
                    "made": made,
                    "request": asdict(wanted),
                    "steps": expected["steps"],
                    "seconds": expected["seconds"] / expected["runs"],
                    "runs": runs,
                }
                self.store.write(race)
            self._going.append(id)
        self._work()
        return id

    def ask(self, id: str, what: str) -> None:
        """Pause, resume (``go``) or stop an experiment.

        ``go`` also resumes runs that were stopped, killed or orphaned. Raises ActFocusError for an unknown experiment or
        operation, where an external run cannot be controlled from here, and in a read-only studio.
        """
        self._require_writable()
        race = self.store.race(id)
        if what not in ("pause", "go", "stop"):
            raise ActFocusError(f"{what!r}: must be pause, go or stop")
        if race.get("external"):
            if self._state(race, race["runs"][0])["state"] not in ("running", "paused"):
                raise ActFocusError(f"{id} was not started by this studio; resume it where it was started")
            return request(self.runs_dir / id, what)
        with self._lock, self.store.writing():
            # Another studio may be running the experiment; it checks for this file.
            check_no_link(self.folder)
            if what == "stop":
                create_empty(self.store.stop_file(id))
            elif what == "go":
                self.store.stop_file(id).unlink(missing_ok=True)
                for run in race["runs"]:
                    # A run whose process ended without a status is tried again.
                    self._forget_ended(run["name"])
            if what == "go" and id not in self._going:
                self._going.append(id)
            if what == "stop" and id in self._going:
                self._going.remove(id)
            for run in race["runs"]:
                path = self.runs_dir / run["name"]
                if read_status(path).get("state") in ("running", "paused"):
                    request(path, what)
        if what == "go":
            self.store.require_disk_space()
        self._work()

    def listing(self) -> list[dict]:
        """All experiments, newest first: id, time of creation, request and the state of each run."""
        entries = []
        for race in [*self._all(), *self.store.external()]:
            entries.append(
                {
                    "id": race["id"],
                    "made": race["made"],
                    "request": race["request"],
                    "policy": _policy(race),
                    "states": self.states(race),
                }
            )
        return sorted(entries, key=lambda race: race["made"], reverse=True)

    def states(self, race: dict) -> list[str]:
        """The state of each run of an experiment."""
        return [self._state(race, run)["state"] for run in race["runs"]]

    def look(self, id: str, cursors: dict[str, int]) -> dict:
        """The current state of an experiment, with the metrics of each run since its cursor, as columns."""
        race = self.store.race(id)
        runs, queue = [], self._queue()
        for run in race["runs"]:
            path = self.runs_dir / run["name"]
            rows, cursor, state = [], 0, self._state(race, run)
            if path.is_dir():
                try:
                    rows, cursor = Run.open(path).metrics(cursors.get(run["name"], 0), ROWS_MAX)
                except ActFocusError as error:
                    # The folder is broken or being deleted; the other runs are still shown.
                    state["message"] = str(error)
            runs.append(
                {
                    **run,
                    **state,
                    "columns": columns(rows),
                    "cursor": cursor,
                    "more": len(rows) == ROWS_MAX,
                    "place": queue.index(run["name"]) + 1 if run["name"] in queue else None,
                }
            )
        return {**race, "policy": _policy(race), "runs": runs, "going": id in self._going}

    def log(self, id: str, name: str) -> dict:
        """The log and config of a run, and how to repeat it, as a command and in Python."""
        path = self.path(id, name)
        race = self.store.race(id)
        run = next(run for run in race["runs"] if run["name"] == name)
        again = path.with_name(f"{name}-again")
        metadata = Run.open(path).metadata if path.is_dir() else None
        if race.get("external"):
            words, python = command.of_external_run(path, again, metadata.config.command)
        else:
            words, python = self._arguments(race, run, again), command.python(path, again)
        return {
            # An external run has its log elsewhere.
            "log": "" if race.get("external") else tail(self.store.log(name), LOG_MAX),
            "config": metadata and metadata.config_as_written,
            "python": python,
            "command": shlex.join(["actfocus", *words]),
        }

    def path(self, id: str, name: str) -> Path:
        """The folder of a run of an experiment. Raises ActFocusError for any other name."""
        if name not in {run["name"] for run in self.store.race(id)["runs"]}:
            raise ActFocusError(f"the experiment {id} has no run of this name")
        return self.runs_dir / name

    def _require_writable(self) -> None:
        if self.read_only:
            raise ActFocusError(READ_ONLY)


def _policy(race: dict) -> str:
    """The short name of the initial policy of an experiment."""
    return models.short(race["request"].get("policy", "tiny"))
