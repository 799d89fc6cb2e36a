"""The folder of experiments, one file each, and external runs, which belong to none."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO

from actfocus_core.credit import SCHEMES
from actfocus_core.errors import ActFocusError
from actfocus_core.files import check_no_link, locked, read_json
from actfocus_core.paths import atomic_write
from actfocus_core.runs import Run
from actfocus_core.runs.info import External, Training
from actfocus_core.train import read_status
from actfocus_studio.jobs.experiments.request import ExperimentRequest

DISK_FREE = 500_000_000
"""Bytes that must be free before a run is started."""
RACE_MAX = 1 << 20
"""Maximum size of an experiment's file in bytes."""
_ID = re.compile(r"[a-z0-9-]{1,60}")


class Store:
    """Files of experiments in a folder of runs: ``.races/ID.json``, ``.races/ID.stop`` and the logs."""

    def __init__(self, runs_dir: Path):
        self.runs_dir = Path(runs_dir).resolve()
        self.folder = self.runs_dir / ".races"

    # --- experiments ---------------------------------------------------------------------------

    def all(self) -> list[dict]:
        """Every experiment with a valid file."""
        found = []
        for file in sorted(self.folder.glob("*.json")):
            with suppress(ActFocusError):
                found.append(self.race(file.stem))
        return found

    def external(self) -> list[dict]:
        """Training runs that belong to no experiment, each as an experiment with a single run."""
        found = []
        for id in sorted(self._trained() - {run["name"] for race in self.all() for run in race["runs"]}):
            with suppress(ActFocusError):
                found.append(external_run(self.runs_dir / id))
        return found

    def race(self, id: str) -> dict:
        """The experiment with this id, or the external run of this name.

        Raises ActFocusError where there is none, or its file is invalid.
        """
        known = isinstance(id, str) and _ID.fullmatch(id) is not None
        if not (known and (self.folder / f"{id}.json").exists()) and isinstance(id, str) and id in self._trained():
            return external_run(self.runs_dir / id)
        if not known:
            raise ActFocusError("there is no such experiment; choose one from the list")
        return read_race(self.folder, id)

    def write(self, race: dict) -> None:
        """Write the file of an experiment atomically."""
        with atomic_write(self.folder / f"{race['id']}.json") as part:
            part.write_text(json.dumps(race, indent=1) + "\n", encoding="utf-8")

    def free_id(self, stem: str) -> str:
        """An id that no experiment and no run uses yet."""
        taken = {path.stem for path in self.folder.glob("*.json")} | {path.name for path in self.runs_dir.iterdir()}
        return next(
            f"{stem}-{n}"
            for n in itertools.count(1)
            if not any(name.startswith(f"{stem}-{n}-") or name == f"{stem}-{n}" for name in taken)
        )

    # --- the folder ----------------------------------------------------------------------

    def stop_file(self, id: str) -> Path:
        """A file that exists if the experiment was stopped."""
        return self.folder / f"{id}.stop"

    def log(self, name: str) -> Path:
        """The log of a run's process."""
        return self.folder / f"{name}.log"

    @contextmanager
    def locked(self, name: str, wait: bool = False) -> Iterator[IO | None]:
        """Lock a file of the folder for the block; None where another process holds it and ``wait`` is false."""
        check_no_link(self.folder)
        with locked(self.folder / name, wait=wait) as file:
            yield file

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Convert an OSError of a folder that cannot be written to an ActFocusError."""
        try:
            yield
        except OSError as error:
            raise ActFocusError(
                f"{self.runs_dir}: cannot be written ({error.strerror or error}); make room or allow it, or start "
                "the studio with another folder of runs"
            ) from None

    def require_disk_space(self) -> None:
        """Raise ActFocusError where too little disk space is free to start a run."""
        free = shutil.disk_usage(self.runs_dir).free
        if free < DISK_FREE:
            raise ActFocusError(
                f"only {free // 1_000_000} MB are free where the runs are kept; make room for at least "
                f"{DISK_FREE // 1_000_000} MB first"
            )

    def _trained(self) -> set[str]:
        """Names of the runs with a training status."""
        return {path.parent.name for path in self.runs_dir.glob("*/status.json")}


def read_race(folder: Path, id: str) -> dict:
    """Read and validate the file of an experiment. Raises ActFocusError where it is missing or invalid."""
    try:
        check_no_link(folder)
        race = read_json(folder / f"{id}.json", RACE_MAX)
        race["request"] = asdict(ExperimentRequest(**race["request"]))
        good = (
            race["id"] == id
            and type(race["steps"]) is int
            and 0 < race["steps"] < 2**31
            and isinstance(race["made"], (int, float))
            and math.isfinite(race["made"])
            and race["runs"]
            and all(
                _ID.fullmatch(run["name"].replace("_", "-")) and run["scheme"] in SCHEMES and type(run["seed"]) is int
                for run in race["runs"]
            )
        )
    except FileNotFoundError:
        raise ActFocusError(f"there is no experiment {id}; choose one from the list") from None
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        ActFocusError,
    ) as error:
        raise ActFocusError(f"{folder / id}.json: not a valid experiment file ({error})") from None
    if not good:
        raise ActFocusError(f"{folder / id}.json: not a valid experiment file")
    return race


def external_run(path: Path) -> dict:
    """A training run as an experiment with a single run. Raises ActFocusError for a run of another kind."""
    run = Run.open(path)
    metadata, status = run.metadata, read_status(run.path)
    if not isinstance(metadata.config, Training | External):
        raise ActFocusError(f"{path.name} is not a training run")
    by = f", {metadata.config.command}" if isinstance(metadata.config, External) else ""
    return {
        "id": path.name,
        "made": (run.path / "run.json").stat().st_mtime,
        "external": True,
        "steps": status.get("steps") or 1,
        "request": {
            "environment": f"{metadata.env or 'unknown environment'}{by}",
            "algorithm": metadata.algorithm or "",
        },
        "runs": [{"name": path.name, "scheme": metadata.scheme or "", "seed": metadata.config.seed or 0}],
    }
