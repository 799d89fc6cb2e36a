"""The list of runs as the picker shows it: what each is, when it was made, and which match a search.

Of every run only run.json is read, and again only when it changes. How large a run is and how it went is in run_sizes.py.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from actfocus_core.files import read_json
from actfocus_studio.data.catalog import Catalog

Section = Literal["samples", "yours", "experiments", "evaluations"]
Order = Literal["newest", "name"]
SECTIONS: tuple[Section, ...] = get_args(Section)
INFO_MAX = 4 << 20
"""Bytes of a run.json that is read for the list; a larger one is listed by its name alone."""
TRAINED = ("train", "trl", "verl")
"""The commands that train."""


@dataclass(frozen=True)
class About:
    """What run.json says of a run; empty where it does not."""

    command: str = ""
    env: str = ""
    policy: str = ""
    scheme: str = ""


@dataclass(frozen=True)
class ListedRun:
    """A run of the catalog."""

    name: str
    path: Path
    section: Section
    modified: float
    """Seconds since 1970 at which run.json was written, which is when the run was made; 0 if it is not readable."""
    about: About
    text: str
    """What a search looks at."""


FRESH = 2.0
"""Seconds for which a search looks at the list of the last one: somebody is typing."""


class RunList:
    """The runs of a catalog with what their run.json says, cached by its stamp. Thread-safe."""

    def __init__(self, catalog: Catalog):
        self.catalog = catalog
        self._lock = threading.Lock()
        self._about: dict[Path, tuple[tuple[int, ...], About]] = {}
        self._last: list[ListedRun] = []
        self._until, self._changes = 0.0, -1

    def all(self) -> list[ListedRun]:
        """Every run, in the order of the catalog."""
        samples = set(self.catalog.samples())
        with self._lock:
            listed = [self._listed(name, path, path in samples) for name, path in self.catalog.paths().items()]
            there = {run.path for run in listed}
            self._about = {path: about for path, about in self._about.items() if path in there}
            self._last, self._until, self._changes = listed, time.monotonic() + FRESH, self.catalog.changes
        return listed

    def _recent(self) -> list[ListedRun]:
        """Every run, as of at most FRESH seconds ago; what this studio itself changed is seen at once."""
        with self._lock:
            if self._changes == self.catalog.changes and time.monotonic() < self._until:
                return self._last
        return self.all()

    def find(self, search: str, order: Order) -> dict[Section, list[ListedRun]]:
        """The runs that have every word of a search in their name, environment, policy or scheme, by section."""
        words = search.casefold().split()
        found: dict[Section, list[ListedRun]] = {section: [] for section in SECTIONS}
        for run in self._recent():
            if all(word in run.text for word in words):
                found[run.section].append(run)
        for runs in found.values():
            runs.sort(key=lambda run: run.name.casefold())
            if order == "newest":
                runs.sort(key=lambda run: run.modified, reverse=True)
        return found

    def _listed(self, name: str, path: Path, sample: bool) -> ListedRun:
        try:
            status = os.stat(f"{path}/run.json")
        except OSError:  # it is being deleted
            return ListedRun(name, path, _section(path, sample, About()), 0.0, About(), name.casefold())
        stamp, cached = (status.st_mtime_ns, status.st_size, status.st_ino), self._about.get(path)
        if cached is None or cached[0] != stamp:
            cached = self._about[path] = (stamp, about(path / "run.json"))
        said = cached[1]
        text = f"{name} {said.env} {said.policy} {said.scheme}".casefold()
        return ListedRun(name, path, _section(path, sample, said), status.st_mtime, said, text)


def about(file: Path) -> About:
    """What a run.json says, without validating the rest; empty if it cannot be read."""
    try:
        info: Any = read_json(file, INFO_MAX)
        config, model = info.get("config"), info.get("model")
    except (OSError, ValueError, RecursionError, AttributeError):
        return About()
    config, model = (part if isinstance(part, dict) else {} for part in (config, model))
    policy = config.get("policy") or config.get("model") or model.get("name")
    stated = {
        "command": config.get("command"),
        "env": config.get("env"),
        "policy": policy,
        "scheme": config.get("scheme"),
    }
    return About(**{name: value[:200] for name, value in stated.items() if isinstance(value, str)})


def _section(path: Path, sample: bool, about: About) -> Section:
    if sample:
        return "samples"
    if about.command == "evaluate" or path.parent.name == "evaluation":
        return "evaluations"
    return "experiments" if about.command in TRAINED else "yours"
