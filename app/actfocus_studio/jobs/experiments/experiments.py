"""What the Train page asks of the experiments: start them, watch them, pause, stop and resume them."""

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
"""Seconds of training that may stand in the queue."""
ROWS_MAX = 1000
"""Rows of a run's metrics that one look returns; the page asks again at once where there are more."""


class Experiments(Queue):
    """All experiments in a folder of runs, and the one slot in which their runs are trained."""

    def __init__(self, runs_dir: Path, read_only: bool = False):
        super().__init__(runs_dir)
        self.read_only = read_only

    def start(self, asked: ExperimentRequest) -> str:
        """Put an experiment into the queue and return its id. Raises ActFocusError where queue or disk are nearly full,
        for a policy that cannot be trained here, and in a studio that is read only."""
        self._demand_writable()
        models.chosen(asked.policy, self.runs_dir)
        waiting = self._waiting()
        if waiting + self.estimate(asked)["seconds"] > QUEUE_MAX:
            raise ActFocusError(
                f"{waiting / 60:.0f} minutes of training are in the queue, and with this race it would be more than "
                f"{QUEUE_MAX // 3600} hours; let some finish, stop one, or ask for less"
            )
        with self._lock, self.store.writing():
            check_no_link(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            self.store.demand_disk()
            env, _ = ENVIRONMENTS[asked.environment]
            expected = self.estimate(asked)
            with self.store.locked(".lock", wait=True):
                id = self.store.free_id(f"race-{env.replace('_', '-')}")
                runs = [
                    {"name": f"{id}-{scheme.replace('_', '-')}-s{seed}", "scheme": scheme, "seed": seed}
                    for seed in range(asked.seeds)
                    for scheme in asked.schemes
                ]
                # After all others, also where the clock was set back.
                made = max([time.time(), *(race["made"] + 1e-3 for race in self._all())])
                race = {
                    "id": id,
                    "made": made,
                    "request": asdict(asked),
                    "steps": expected["steps"],
                    "seconds": expected["seconds"] / expected["runs"],
                    "runs": runs,
                }
                self.store.write(race)
            self._going.append(id)
        self._work()
        return id

    def ask(self, id: str, what: str) -> None:
        """``pause``, ``go`` or ``stop`` an experiment; ``go`` resumes what was stopped, killed or left behind."""
        self._demand_writable()
        race = self.store.race(id)
        if what not in ("pause", "go", "stop"):
            raise ActFocusError(f"{what!r}: must be pause, go or stop")
        if race.get("alone"):
            if self._state(race, race["runs"][0])["state"] not in ("running", "paused"):
                raise ActFocusError(f"{id} was not begun by this studio: go on with it where it was begun")
            return request(self.runs_dir / id, what)
        with self._lock, self.store.writing():
            # Another studio may keep the experiment going: it looks for this file.
            check_no_link(self.folder)
            if what == "stop":
                create_empty(self.store.stop_file(id))
            elif what == "go":
                self.store.stop_file(id).unlink(missing_ok=True)
                for run in race["runs"]:
                    # One whose process ended without a word is tried again.
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
            self.store.demand_disk()
        self._work()

    def listing(self) -> list[dict]:
        """All experiments, the newest first: id, when it was made, what was asked for, and the state of each run."""
        found = []
        for race in [*self._all(), *self.store.alone()]:
            states = [self._state(race, run)["state"] for run in race["runs"]]
            found.append(
                {
                    "id": race["id"],
                    "made": race["made"],
                    "request": race["request"],
                    "policy": _policy(race),
                    "states": states,
                }
            )
        return sorted(found, key=lambda race: race["made"], reverse=True)

    def look(self, id: str, cursors: dict[str, int]) -> dict:
        """An experiment as it stands, with each run's metrics since its cursor, as columns."""
        race = self.store.race(id)
        runs, queue = [], self._queue()
        for run in race["runs"]:
            path = self.runs_dir / run["name"]
            rows, cursor, state = [], 0, self._state(race, run)
            if path.is_dir():
                try:
                    rows, cursor = Run.open(path).metrics(cursors.get(run["name"], 0), ROWS_MAX)
                except ActFocusError as error:
                    # Its folder is broken, or being deleted: the other runs are shown.
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
        """What a run's process wrote, its config, and how to repeat it: as a command, and in Python."""
        path = self.path(id, name)
        race = self.store.race(id)
        run = next(run for run in race["runs"] if run["name"] == name)
        again = path.with_name(f"{name}-again")
        told = Run.open(path).metadata if path.is_dir() else None
        if race.get("alone"):
            words, python = command.of_lone_run(path, again, told.config.command)
        else:
            words, python = self._arguments(race, run, again), command.python(path, again)
        return {
            # A run that was begun elsewhere writes its log elsewhere.
            "log": "" if race.get("alone") else tail(self.store.log(name), LOG_MAX),
            "config": told and told.config_as_written,
            "python": python,
            "command": shlex.join(["actfocus", *words]),
        }

    def path(self, id: str, name: str) -> Path:
        """The folder of an experiment's run. Raises ActFocusError for any other name."""
        if name not in {run["name"] for run in self.store.race(id)["runs"]}:
            raise ActFocusError(f"the race {id} has no run of that name")
        return self.runs_dir / name

    def _demand_writable(self) -> None:
        if self.read_only:
            raise ActFocusError(READ_ONLY)


def _policy(race: dict) -> str:
    """The name that a page shows for the policy that an experiment begins with."""
    return models.short(race["request"].get("policy", "tiny"))
