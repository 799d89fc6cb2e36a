"""The runs that can be opened, and the trajectory that a view refers to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from actfocus_core.errors import ActFocusError
from actfocus_core.paths import assets, modified_time
from actfocus_core.runs import Run
from actfocus_core.runs import stamp as file_stamp
from actfocus_studio.data.cache import LruCache
from actfocus_studio.data.message import Message
from actfocus_studio.data.run_folders import RunFolders, evaluations
from actfocus_studio.data.view import NAME_MAX, View

FIRST_RUN = "frozen-lake"
"""The bundled run that opens by default."""


class Catalog:
    """The runs by name: those given, those bundled, and those in ``runs_dir``.

    Runs are only ever opened by a name of this list, never by a path that came from a page.
    """

    def __init__(self, given: list[Path], runs_dir: Path):
        self.given = [Path(path).resolve() for path in given]
        self.runs_dir = Path(runs_dir).resolve()
        self._made, self._samples = RunFolders(self.runs_dir), RunFolders(assets() / "runs")
        self._named: dict[str, Path] = {}
        self.changes = 0
        """Runs that were renamed, deleted or restored by this studio."""
        self._open: LruCache[Run] = LruCache(16)

    def samples(self) -> list[Path]:
        """The folders of the bundled runs."""
        return self._samples.list()

    def paths(self) -> dict[str, Path]:
        """Name -> folder; a number distinguishes folders of the same name. Looks for evaluations in every run."""
        found: dict[str, Path] = {}
        made = self._made.list()
        inside = {path: f"{path.parents[1].name} evaluation {path.name}" for run in made for path in evaluations(run)}
        for path in dict.fromkeys([*self.given, *self.samples(), *made, *inside]):
            plain = listed_name(inside.get(path, path.name))
            name, number = plain, 2
            while name in found:
                name, number = f"{plain} ({number})", number + 1
            found[name] = path
        self._named = found
        return found

    def find(self, name: str) -> Path | None:
        """The folder of this name; None if there is none. The folders are read again only where the name is new."""
        known = self._named.get(name)
        return known if known is not None and known.exists() else self.paths().get(name)

    def default(self) -> str:
        """The first run given, else the bundled one, else the newest."""
        if self.given:
            return next(name for name, path in self.paths().items() if path == self.given[0])
        if self.find(FIRST_RUN) is not None:
            return FIRST_RUN
        paths = self.paths()
        if not paths:
            raise ActFocusError(
                "there is no run to show yet: make one under \u201cNew rollouts\u201d, or start "
                "the studio with `actfocus app RUN`"
            )
        return max(paths, key=lambda name: modified_time(paths[name] / "run.json"))

    def open(self, name: str) -> Run:
        """The run of this name. Raises ActFocusError if there is none or it is damaged."""
        path = self.find(name)
        if path is None:
            raise ActFocusError(f"there is no run \u201c{name}\u201d here; choose one from the list")
        try:
            key = (path, file_stamp(path / "run.json"))
        except ActFocusError:
            return Run.open(path)  # raises with the reason
        # An open run caches its index.
        return self._open.get(key, lambda: Run.open(path))

    def moved(self, old: Path, new: Path | None) -> None:
        """A run was renamed, or deleted (None). The runs given on the command line follow."""
        self.given = [new if path == old and new else path for path in self.given if path != old or new]
        self._named = {}
        self.changes += 1


def listed_name(name: str) -> str:
    """The name of a folder as a page can send it back: printable, and not too long."""
    text = name if name.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in name)
    return text[: NAME_MAX - 10]


class Member(Message):
    """A rollout of a group."""

    id: str
    rollout: int
    return_: Annotated[float | None, Field(serialization_alias="return")]
    success: bool | None
    malformed: bool
    kept: bool
    """By the filter."""


class Place(Message):
    """One trajectory and its neighbours within the run."""

    id: str
    step: int
    steps: list[int]
    position: int | None
    """Index among the trajectories that pass the filter; None if it does not pass."""
    counts: dict[str, int]
    """filter -> number of trajectories that pass it"""
    previous: str | None
    next: str | None
    group: str
    group_position: int
    group_count: int
    group_previous: str | None
    group_next: str | None
    members: list[Member]
    """The rollouts of the group."""
    malformed_previous: str | None
    """The nearest one before it, of those that pass the filter, with a malformed or illegal turn."""
    malformed_next: str | None


def locate(run: Run, view: View) -> tuple[Place, list[str]]:
    """The trajectory that a view refers to, and a note for each thing it names that does not exist."""
    index = run.index()
    if index.empty:
        raise ActFocusError(f"the run \u201c{run.name}\u201d has no trajectories yet")
    notes: list[str] = []
    masks = _masks(index)
    kept = np.flatnonzero(masks[view.filter])
    at = _position(index, view, kept, notes)
    ids, steps, names = (index[column].to_numpy() for column in ("id", "step", "group"))
    in_step = np.flatnonzero(steps == steps[at])
    members: dict[str, list[int]] = {}
    for i, name in zip(in_step.tolist(), names[in_step].tolist()):
        members.setdefault(name, []).append(i)
    groups = list(members)
    g = groups.index(names[at])

    def head(k: int) -> str | None:
        """The first rollout of group ``k`` of this step; None if there is none."""
        return ids[members[groups[k]][0]] if 0 <= k < len(groups) else None

    here = int(np.searchsorted(kept, at))
    among = here < len(kept) and kept[here] == at
    after = here + 1 if among else here
    own = members[groups[g]]
    return Place(
        id=ids[at],
        step=int(steps[at]),
        steps=run.steps(),
        position=here if among else None,
        counts={name: int(mask.sum()) for name, mask in masks.items()},
        previous=ids[kept[here - 1]] if here else None,
        next=ids[kept[after]] if after < len(kept) else None,
        group=names[at],
        group_position=g,
        group_count=len(groups),
        group_previous=head(g - 1),
        group_next=head(g + 1),
        members=_members(index, own, masks[view.filter]),
        malformed_previous=next((ids[i] for i in kept[:here][::-1] if masks["malformed"][i]), None),
        malformed_next=next((ids[i] for i in kept[after:] if masks["malformed"][i]), None),
    ), notes


def _masks(index: pd.DataFrame) -> dict[str, np.ndarray]:
    return {
        "all": np.ones(len(index), bool),
        **{
            name: (index["success"] == value).to_numpy(bool, na_value=False)
            for name, value in (("success", True), ("failure", False))
        },
        "malformed": (index["n_valid"] < index["n_turns"]).to_numpy(bool),
    }


def _position(index: pd.DataFrame, view: View, kept: np.ndarray, notes: list[str]) -> int:
    """The row of the requested trajectory, else the first row of the step that passes the filter."""
    if view.trajectory:
        hits = np.flatnonzero(index["id"].to_numpy() == view.trajectory)
        if len(hits):
            return int(hits[0])
        notes.append(f"There is no trajectory \u201c{view.trajectory}\u201d in this run; this is its first one.")
    if view.step is not None:
        in_step = np.flatnonzero(index["step"].to_numpy() == view.step)
        if len(in_step):
            both = np.intersect1d(in_step, kept)
            return int((both if len(both) else in_step)[0])
        notes.append(f"There is no step {view.step} in this run.")
    if view.filter == "all":
        return _telling(index)
    if len(kept):
        return int(kept[0])
    notes.append(f"No trajectory of this run is \u201c{view.filter}\u201d; this is the first one of all.")
    return 0


def _telling(index: pd.DataFrame) -> int:
    """A trajectory to start with: a success of several turns in a group where others failed."""
    spread = index.groupby(["step", "group"])["return"].transform(lambda r: r.max() > r.min())
    good = (
        index["success"].fillna(False).astype(bool)
        & spread
        & index["n_turns"].between(2, 4)
        & (index["n_valid"] == index["n_turns"])
    )
    for candidates in (good, spread & (index["n_turns"] > 1)):
        if candidates.any():
            return int(candidates.to_numpy(bool).argmax())
    return 0


def _members(index: pd.DataFrame, rows: list[int], kept: np.ndarray) -> list[Member]:
    columns = [index[name].to_numpy()[rows].tolist() for name in ("id", "rollout", "return", "n_valid", "n_turns")]
    success = index["success"].to_numpy(object, na_value=None)[rows].tolist()
    return [
        Member(
            id=id,
            rollout=int(rollout),
            return_=float(ret) if np.isfinite(ret) else None,
            success=known,
            malformed=bool(n_valid < n_turns),
            kept=bool(kept[i]),
        )
        for i, known, id, rollout, ret, n_valid, n_turns in zip(rows, success, *columns)
    ]
