"""The What-if panel's routes: questions are asked, the work is followed, and answers are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter

from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.trajectory import Trajectory
from actfocus_studio.data.catalog import locate
from actfocus_studio.data.view import View, ViewRequest
from actfocus_studio.jobs.whatif.answers import Answers
from actfocus_studio.jobs.worker import READ_ONLY
from actfocus_studio.panels.whatif import requests, serialize
from actfocus_studio.panels.whatif.requests import (
    BranchRequest,
    EditRequest,
    MotionRequest,
    ReplayRequest,
    WhatIfRequest,
    WhatIfWorkRequest,
)
from actfocus_studio.panels.whatif.schema import (
    BranchShown,
    EditShown,
    Motion,
    ReplayShown,
    StoredAnswers,
    WhatIfFacts,
    WhatIfStatus,
)
from actfocus_studio.server.api import API
from actfocus_studio.shell.studio import Studio

Asked = TypeVar("Asked", bound=ViewRequest)


def api(studio: Studio) -> APIRouter:
    """The routes of the panel."""
    router = APIRouter(prefix=f"{API}/whatif")
    process, answers = studio.whatif, Answers(studio.whatif)

    @router.post("/facts")
    def facts(request: ViewRequest) -> WhatIfFacts:
        run, name = _run(studio, request.view)
        found = requests.facts(run, name, _trajectory(run, request.view))
        if found.model and not studio.read_only:
            process.warm()
        return found

    @router.post("/replay")
    def replay(request: ReplayRequest) -> WhatIfStatus:
        return _start(studio, "replay", requests.replay, request)

    @router.post("/branch")
    def branch(request: BranchRequest) -> WhatIfStatus:
        return _start(studio, "branch", requests.branch, request)

    @router.post("/edit")
    def edit(request: EditRequest) -> WhatIfStatus:
        return _start(studio, "edit", requests.edit, request)

    @router.post("/look")
    def look(request: WhatIfWorkRequest) -> WhatIfStatus:
        return _status(studio)

    @router.post("/cancel")
    def cancel(request: WhatIfWorkRequest) -> WhatIfStatus:
        process.cancel()
        return _status(studio)

    @router.post("/list")
    def list_answers(request: ViewRequest) -> StoredAnswers:
        return serialize.listing(answers.listing(_run(studio, request.view)[0]))

    @router.post("/show")
    def show(request: WhatIfRequest) -> ReplayShown | BranchShown | EditShown:
        run, name = _run(studio, request.view)
        return serialize.shown(*answers.load(run, request.id), run, name, request.view.trajectory)

    @router.post("/motion")
    def motion(request: MotionRequest) -> Motion:
        run, _ = _run(studio, request.view)
        what, _ = answers.load(run, request.id)
        return serialize.motion(what, run, request.view.trajectory, request.scheme)

    return router


def _run(studio: Studio, view: View) -> tuple[Run, str]:
    """The run of a view, and its name."""
    name = view.run or studio.catalog.default()
    return studio.catalog.open(name), name


def _trajectory(run: Run, view: View) -> Trajectory:
    return run.trajectory(locate(run, view)[0].id, None)


def _start(
    studio: Studio, kind: str, arguments: Callable[[Run, Trajectory, Asked], dict[str, Any]], request: Asked
) -> WhatIfStatus:
    """Start computing a what-if. Raises ActFocusError while another one is computed, and in a read-only studio."""
    if studio.read_only:
        raise ActFocusError(READ_ONLY)
    run, name = _run(studio, request.view)
    requests.model_of(run)
    studio.whatif.start(run, name, kind, arguments(run, _trajectory(run, request.view), request))
    return _status(studio)


def _status(studio: Studio) -> WhatIfStatus:
    return WhatIfStatus(**vars(studio.whatif.status()))
