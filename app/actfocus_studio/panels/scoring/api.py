"""The routes of the computation of signals, which all pages share: what can be chosen, start, progress, cancel."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from actfocus_core.scoring import unscored_groups
from actfocus_studio.data.message import Message, Request
from actfocus_studio.data.models import has_gpu
from actfocus_studio.data.schema import SignalsJob
from actfocus_studio.data.view import NAME_MAX, Name
from actfocus_studio.jobs.signals import SAMPLE
from actfocus_studio.server.api import API
from actfocus_studio.shell.studio import Studio


class ReferencesRequest(Request):
    """Which models can score this run?"""

    run: Name


class ReferenceModel(Message):
    """A reference model, and what it would have to score."""

    name: str
    title: str
    usable: bool
    """Whether this machine can run it."""
    groups_left: int


class ReferencesResponse(Message):
    references: list[ReferenceModel]
    groups: int
    """Of the run."""
    sample: int
    """Groups of a sample."""
    suggested: str
    """The reference to offer first: the run's own policy where it is here, else the first."""


class ScoreRequest(Request):
    """Score a run with a reference model: one of the list, or a folder."""

    run: Name
    reference: Annotated[str, StringConstraints(max_length=4 * NAME_MAX)]
    groups: int | None = Field(default=None, ge=1, le=1_000_000, strict=True)
    """At most this many; null: all."""
    first: Annotated[str, StringConstraints(max_length=4 * NAME_MAX)] = ""
    """The trajectory whose group is scored first."""


class SignalsRequest(Request):
    """Look at the computation of signals, or end it."""


def api(studio: Studio) -> APIRouter:
    """The routes of the panel."""
    router = APIRouter(prefix=f"{API}/scoring")
    signals = studio.signals

    @router.post("/references")
    def list_references(request: ReferencesRequest) -> ReferencesResponse:
        run = studio.catalog.open(request.run)
        offered = signals.references()
        left = {model.name: unscored_groups(run, model.name) for model in offered}
        names = [model.name for model in offered]
        own = run.metadata.tokenizer or ""
        return ReferencesResponse(
            references=[
                ReferenceModel(
                    name=model.name,
                    title=model.title,
                    usable=not model.needs_gpu or has_gpu(),
                    groups_left=left[model.name],
                )
                for model in offered
            ],
            groups=unscored_groups(run, None),
            sample=SAMPLE,
            suggested=own if own in names else names[0],
        )

    @router.post("/start")
    def start(request: ScoreRequest) -> SignalsJob:
        run = studio.catalog.open(request.run)
        signals.score(run, request.run, request.reference, request.groups, request.first)
        return signals.look()

    @router.post("/look")
    def look(request: SignalsRequest) -> SignalsJob:
        return signals.look()

    @router.post("/cancel")
    def cancel(request: SignalsRequest) -> SignalsJob:
        signals.cancel()
        return signals.look()

    return router
