"""The routes of the run picker: the list of runs and their sizes, renaming, and deleting with undo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from actfocus_core.errors import ActFocusError
from actfocus_studio.data.message import Message, Request
from actfocus_studio.data.run_list import ListedRun, Order, RunList, Section
from actfocus_studio.data.run_sizes import RunSize, RunSizes
from actfocus_studio.data.trash import DAYS, NAME_MAX, Trash, check_name
from actfocus_studio.data.view import INDEX_MAX, Name
from actfocus_studio.jobs.in_use import Job, check_no_experiment, check_unused
from actfocus_studio.server.api import API
from actfocus_studio.shell.studio import Studio

PAGE = 100
"""Runs in one answer."""
READ_ONLY = "this studio is read-only: no run is renamed or deleted here"


class RunsRequest(Request):
    """A part of the list of runs."""

    search: Name = ""
    """Words that a run's name, environment, policy or scheme contains."""
    section: Section | None = None
    order: Order = "newest"
    offset: int = Field(0, ge=0, le=INDEX_MAX)


class PickedRun(Message):
    """A run in the list."""

    name: str
    section: Section
    folder: str
    """The name of its folder, which differs from its name where two runs have one name."""
    modified: float | None
    """Seconds since 1970; null if run.json cannot be read."""
    env: str
    policy: str
    scheme: str
    why_kept: str
    """Why it cannot be renamed or deleted; empty if it can."""


class RunsResponse(Message):
    runs: list[PickedRun]
    counts: dict[str, int]
    """section -> runs that match the search"""
    matches: int
    """In the section that was asked for, or in all."""
    deleted: int
    """Runs that can be restored."""


class SizesRequest(Request):
    names: list[Name] = Field(max_length=PAGE)


class SizesResponse(Message):
    """The counts of the first runs of the request; those of the others have to be asked for again."""

    sizes: list[RunSize]


class RenameRequest(Request):
    run: Name
    name: Annotated[str, StringConstraints(max_length=2 * NAME_MAX)]


class RunRequest(Request):
    """Delete a run."""

    run: Name


class TrashRequest(Request):
    """List the deleted runs."""


class DeletedRequest(Request):
    """A deleted run, by its id."""

    id: Name


class NamedRun(Message):
    """The name under which a run is listed now."""

    run: str


class DeletedRun(Message):
    id: str
    run: str
    deleted: float
    """Seconds since 1970."""
    expires: float


class TrashResponse(Message):
    runs: list[DeletedRun]
    days: int
    """That a deleted run is kept."""


class Picker:
    """The runs of a studio, as the picker lists and changes them."""

    def __init__(self, studio: Studio, jobs: Sequence[Job]):
        self.studio, self.jobs = studio, jobs
        self.list, self.sizes = RunList(studio.catalog), RunSizes()
        self.trash = Trash(studio.catalog.runs_dir)

    def find(self, request: RunsRequest) -> RunsResponse:
        found = self.list.find(request.search, request.order)
        runs = [run for section, runs in found.items() if request.section in (None, section) for run in runs]
        return RunsResponse(
            runs=[self._picked(run) for run in runs[request.offset : request.offset + PAGE]],
            counts={section: len(runs) for section, runs in found.items()},
            matches=len(runs),
            deleted=0 if self.studio.read_only else len(self.trash.listing()),
        )

    def rename(self, run: str, new: str) -> str:
        """Rename a run; its new name. Raises ActFocusError for one that cannot be renamed, or a name that is not free."""
        listed = self._changeable(run)
        check_no_experiment(listed.path, run, self.studio.experiments)
        check_name(new)
        if new in self.studio.catalog.paths():
            raise ActFocusError(f"{new}: there is a run of this name already; choose another name")
        self.trash.rename(listed.path.name, new)
        self.studio.catalog.moved(listed.path, listed.path.with_name(new))
        return new

    def delete(self, run: str) -> DeletedRun:
        """Move a run to the trash. Raises ActFocusError for one that cannot be deleted."""
        listed = self._changeable(run)
        deleted = self.trash.delete(listed.path.name)
        self.studio.catalog.moved(listed.path, None)
        return DeletedRun(id=deleted.id, run=deleted.name, deleted=deleted.deleted, expires=deleted.expires)

    def restore(self, id: str) -> str:
        """Restore a deleted run; the name under which it is listed."""
        self._require_writable()
        path = self.studio.catalog.runs_dir / self.trash.restore(id)
        self.studio.catalog.changes += 1
        return next((name for name, there in self.studio.catalog.paths().items() if there == path), path.name)

    def remove(self, id: str) -> str:
        """Remove a deleted run for good; its name."""
        self._require_writable()
        return self.trash.remove(id)

    def _changeable(self, run: str) -> ListedRun:
        """A run that may be renamed or deleted. Raises ActFocusError for any other, and while a job works on it."""
        self._require_writable()
        listed = next((one for one in self.list.all() if one.name == run), None)
        if listed is None:
            raise ActFocusError(f"there is no run \u201c{run}\u201d here; choose one from the list")
        why = self._why_kept(listed)
        if why:
            raise ActFocusError(f"{run}: {why}")
        check_unused(listed.path, run, self.studio.experiments, self.jobs)
        return listed

    def _why_kept(self, run: ListedRun) -> str:
        if self.studio.read_only:
            return READ_ONLY
        if run.section == "samples":
            return "a sample comes with the studio and is neither renamed nor deleted"
        if run.path.parent.name == "evaluation":
            return "an evaluation belongs to its training run"
        if run.path.parent != self.studio.catalog.runs_dir:
            return f"it lies outside of the folder of runs, {self.studio.catalog.runs_dir}"
        return ""

    def _require_writable(self) -> None:
        if self.studio.read_only:
            raise ActFocusError(READ_ONLY)

    def _picked(self, run: ListedRun) -> PickedRun:
        return PickedRun(
            name=run.name,
            section=run.section,
            folder=run.path.name,
            modified=run.modified or None,
            env=run.about.env,
            policy=run.about.policy,
            scheme=run.about.scheme,
            why_kept=self._why_kept(run),
        )


def api(studio: Studio, jobs: Sequence[Job]) -> APIRouter:
    """The routes of the picker. ``jobs``: those that work on runs, which are then neither renamed nor deleted."""
    router = APIRouter(prefix=f"{API}/runs")
    picker = Picker(studio, jobs)

    @router.post("/list")
    def list_runs(request: RunsRequest) -> RunsResponse:
        return picker.find(request)

    @router.post("/sizes")
    def count(request: SizesRequest) -> SizesResponse:
        return SizesResponse(sizes=picker.sizes.of((name, studio.catalog.find(name)) for name in request.names))

    @router.post("/rename")
    def rename(request: RenameRequest) -> NamedRun:
        return NamedRun(run=picker.rename(request.run, request.name))

    @router.post("/delete")
    def delete(request: RunRequest) -> DeletedRun:
        return picker.delete(request.run)

    @router.post("/trash")
    def list_deleted(request: TrashRequest) -> TrashResponse:
        runs = [] if studio.read_only else picker.trash.listing()
        return TrashResponse(
            runs=[DeletedRun(id=one.id, run=one.name, deleted=one.deleted, expires=one.expires) for one in runs],
            days=DAYS,
        )

    @router.post("/restore")
    def restore(request: DeletedRequest) -> NamedRun:
        return NamedRun(run=picker.restore(request.id))

    @router.post("/remove")
    def remove(request: DeletedRequest) -> NamedRun:
        return NamedRun(run=picker.remove(request.id))

    return router
