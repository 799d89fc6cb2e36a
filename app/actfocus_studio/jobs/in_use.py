"""Which job works on a run, so that the run is not renamed or deleted under it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from actfocus_core.errors import ActFocusError
from actfocus_core.files import is_locked
from actfocus_core.train import read_status
from actfocus_studio.jobs.experiments import Experiments
from actfocus_studio.jobs.worker import Status

GOING = ("queued", "starting", "running", "paused")
"""States of a run of an experiment that is not over."""


class Job(Protocol):
    """What computes, one thing at a time, on a run."""

    def status(self) -> Status: ...


def check_unused(path: Path, name: str, experiments: Experiments, jobs: Iterable[Job]) -> None:
    """Raise ActFocusError while a job works on a run, or an experiment that is not over needs it.

    ``name``: its name on the pages.
    """
    if read_status(path).get("state") in ("running", "paused") or _is_held(path):
        raise ActFocusError(f"{name}: is being trained; stop that first")
    for job in jobs:
        status = job.status()
        if status.state == "running" and status.run in (name, path.name):
            raise ActFocusError(f"{name}: something is being computed for it; wait for that, or cancel it")
    for race in experiments.store.all():
        own = any(run["name"] == path.name for run in race["runs"])
        begun = race["request"]["policy"] == str(path / "policy")
        if (own or begun) and any(state in GOING for state in experiments.states(race)):
            raise ActFocusError(f"{name}: belongs to the experiment {race['id']}, which is not over; stop it first")


def check_no_experiment(path: Path, name: str, experiments: Experiments) -> None:
    """Raise ActFocusError for a run of an experiment of this studio: the experiment finds it by its name."""
    for race in experiments.store.all():
        if any(run["name"] == path.name for run in race["runs"]):
            raise ActFocusError(f"{name}: belongs to the experiment {race['id']}, which finds its runs by their names")


def _is_held(path: Path) -> bool:
    try:
        return is_locked(path / ".lock")
    except OSError:
        return False
