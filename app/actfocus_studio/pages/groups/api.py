"""The Groups page's routes: the diagnosis of a step or run, and the rollouts of one group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_studio.data.cache import LruCache
from actfocus_studio.data.message import Message, Request
from actfocus_studio.data.token_credit import TokenCredit, token_credits
from actfocus_studio.data.view import BESIDE_MAX, INDEX_MAX, Name, View, ViewRequest
from actfocus_studio.pages.groups.beside import Beside, beside
from actfocus_studio.pages.groups.diagnosis import Diagnosis, GroupsDiagnosis, diagnosis
from actfocus_studio.pages.groups.ribbons import Ribbon, ribbons
from actfocus_studio.server.api import API
from actfocus_studio.shell.studio import Studio


class RibbonsRequest(Request):
    """The rollouts of a group of a step, by the name that the run has for it."""

    run: Name
    reference: Name
    step: int = Field(ge=0, le=INDEX_MAX)
    group: Name


class RibbonsResponse(Message):
    ribbons: list[Ribbon]


class BesideRequest(RibbonsRequest):
    """The rollouts of a group, and those at these positions with their tokens."""

    columns: list[Annotated[int, Field(ge=0, le=INDEX_MAX)]]


class GroupCreditRequest(ViewRequest):
    """The credit of rollouts of a step under ``view.scheme_a``."""

    step: int = Field(ge=0, le=INDEX_MAX)
    ids: list[Name]


class GroupCredit(Message):
    """The credit of each rollout that was asked for, and the magnitude at which their colour scale saturates."""

    credits: list[TokenCredit]
    top: float


def api(studio: Studio) -> APIRouter:
    """The routes of the page."""
    router = APIRouter(prefix=f"{API}/groups")
    recent: LruCache[Diagnosis] = LruCache()

    @router.post("/diagnosis")
    def diagnose(request: ViewRequest) -> GroupsDiagnosis:
        return diagnosed(studio.catalog.open(request.view.run), request.view, recent)

    @router.post("/ribbons")
    def open_group(request: RibbonsRequest) -> RibbonsResponse:
        run, step = studio.catalog.open(request.run), request.step
        reference = request.reference if request.reference in run.references(step) else None
        batch = studio.batches.get(run, step, reference)
        return RibbonsResponse(ribbons=ribbons(run, step, request.group, reference, batch))

    @router.post("/beside")
    def show_beside(request: BesideRequest) -> Beside:
        _check_count(request.columns)
        run, step = studio.catalog.open(request.run), request.step
        batch = studio.batches.get(run, step, _reference(run, step, request.reference))
        return beside(run, step, request.group, batch, request.columns)

    @router.post("/credit")
    def give_credit(request: GroupCreditRequest) -> GroupCredit:
        _check_count(request.ids)
        view, step = request.view, request.step
        run = studio.catalog.open(view.run)
        scored = studio.scored.get(run, step, _reference(run, step, view.reference))
        credits, top = token_credits(scored, view.scheme_a, view, request.ids)
        return GroupCredit(credits=credits, top=top or 1.0)

    return router


def _check_count(rollouts: Sequence[object]) -> None:
    if len(rollouts) > BESIDE_MAX:
        raise ActFocusError(f"at most {BESIDE_MAX} rollouts stand side by side")


def _reference(run: Run, step: int, wanted: str) -> str | None:
    """The reference that was asked for, if it scored this step; else the first that did."""
    names = run.references(step)
    return wanted if wanted in names else next(iter(names), None)


def diagnosed(run: Run, view: View, recent: LruCache[Diagnosis]) -> GroupsDiagnosis:
    """The diagnosis of the view's step, or of all steps, with the filter that the view or the run asks for."""
    step = view.step if view.over == "step" else None
    if view.over == "step" and step is None:
        raise ActFocusError("step: give the number of a step of this run")
    found = diagnosis(run, step, view.reference or None, recent)
    return found.summary(float(view.keep) if view.keep else None, _share(run))


def _share(run: Run) -> float | None:
    """The fraction of groups that the run itself kept; None if it does not say."""
    share = run.metadata.config.filter_share
    return share if share is not None and 0 < share <= 1 else None
