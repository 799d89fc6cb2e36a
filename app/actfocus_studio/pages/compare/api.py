"""The Compare page's routes: panes, credit, tables, the computation of missing signals, and the report."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter

from actfocus_core.errors import ActFocusError
from actfocus_core.reports.html import render
from actfocus_core.runs import Run, slug
from actfocus_studio.data.catalog import Place, locate
from actfocus_studio.data.message import Message
from actfocus_studio.data.schema import SignalsJob
from actfocus_studio.data.scored_batches import ScoredBatch
from actfocus_studio.data.token_credit import TokenCredit, token_credit
from actfocus_studio.data.view import Name, View, ViewRequest
from actfocus_studio.pages.compare.credits import SchemeTable, TruthBoard, boards, table
from actfocus_studio.pages.compare.panes import ComparePane, ComparePlace, pane, places
from actfocus_studio.server.api import API
from actfocus_studio.shell.studio import Studio


class JudgeRequest(ViewRequest):
    """Compute values of the oracle for the step of the view, by their name on the page."""

    values: Name


class PanesResponse(Message):
    """The trajectories of panes A and B, and the validated choices of the address."""

    left: ComparePane
    right: ComparePane | None
    """Null where both panes show the same."""
    notes: list[str]
    scheme_a: str
    scheme_b: str
    controls: bool


class CreditResponse(Message):
    """Token credit in both panes, and the magnitude at which their common colour scale saturates."""

    a: TokenCredit
    b: TokenCredit
    top: float


class PlacesResponse(Message):
    places: list[ComparePlace]


class SchemesResponse(SchemeTable):
    """All schemes on the batch, and the commands that compute missing signals."""

    step: int
    score: str
    judge: str


class TruthResponse(Message):
    """A scoreboard for each ground truth, and the command that computes them."""

    boards: list[TruthBoard]
    command: str


class CompareReport(Message):
    """The report of the step as an HTML document, which the page offers as a download and never renders."""

    report: str
    name: str
    """Of the file."""


@dataclass(frozen=True)
class Desk:
    """A view, and the trajectory that it refers to. Raises ActFocusError for a run or step that does not exist."""

    studio: Studio
    view: View
    name: str
    run: Run
    place: Place

    @classmethod
    def of(cls, studio: Studio, view: View) -> Desk:
        name = view.run or studio.catalog.default()
        run = studio.catalog.open(name)
        return cls(studio, view, name, run, locate(run, view)[0])

    def other(self) -> tuple[Run, str]:
        """The run of pane B's trajectory, and its name. Raises ActFocusError for a run that is not listed."""
        name = self.view.other_run
        return (self.run, self.name) if name in ("", self.name) else (self.studio.catalog.open(name), name)

    def batch(self) -> ScoredBatch:
        """The batch of the step."""
        return self.batch_of(self.run, self.place.step)

    def batch_of(self, run: Run, step: int) -> ScoredBatch:
        return self.studio.scored.get(run, step, self.reference(run, step))

    def reference(self, run: Run, step: int) -> str | None:
        """The requested reference model where it scored this step, else the first that did."""
        names = run.references(step)
        return self.view.reference if self.view.reference in names else next(iter(names), None)

    @property
    def oracle(self) -> str:
        """The command that computes ground truths."""
        return f"actfocus oracle {self.run.path} --step {self.place.step}"


def api(studio: Studio) -> APIRouter:
    """The routes of the page."""
    router = APIRouter(prefix=f"{API}/compare")

    @router.post("/panes")
    def show_panes(request: ViewRequest) -> PanesResponse:
        return shown(Desk.of(studio, request.view))

    @router.post("/credit")
    def show_credit(request: ViewRequest) -> CreditResponse:
        return credit(Desk.of(studio, request.view))

    @router.post("/places")
    def list_places(request: ViewRequest) -> PlacesResponse:
        desk = Desk.of(studio, request.view)
        return PlacesResponse(places=places(studio.catalog, desk.run, desk.name, desk.place))

    @router.post("/schemes")
    def compare_schemes(request: ViewRequest) -> SchemesResponse:
        desk = Desk.of(studio, request.view)
        command = f"actfocus score {desk.run.path}"
        found = table(desk.batch(), desk.view)
        return SchemesResponse(**vars(found), step=desk.place.step, score=command, judge=desk.oracle)

    @router.post("/truth")
    def score_schemes(request: ViewRequest) -> TruthResponse:
        desk = Desk.of(studio, request.view)
        return TruthResponse(boards=boards(desk.batch(), desk.view), command=desk.oracle)

    @router.post("/judge")
    def start_judging(request: JudgeRequest) -> SignalsJob:
        desk = Desk.of(studio, request.view)
        studio.signals.judge(desk.run, desk.name, desk.place.step, request.values)
        return studio.signals.look()

    @router.post("/report")
    def write_report(request: ViewRequest) -> CompareReport:
        desk = Desk.of(studio, request.view)
        run, step = desk.run, desk.place.step
        html, _ = render(run, step, desk.reference(run, step))
        return CompareReport(report=html, name=f"{slug(run.name)}-step-{step}.html")

    return router


def shown(desk: Desk) -> PanesResponse:
    """The trajectory of the view, and the one selected for pane B, if any."""
    view = desk.view
    left, right, notes = pane(desk.run, desk.name, desk.place.id), None, []
    if view.other:
        try:
            right = pane(*desk.other(), view.other)
        except ActFocusError as error:
            notes.append(f"{error}; both panes show the same trajectory.")
    same = right is not None and (right.run, right.id) == (left.run, left.id)
    return PanesResponse(
        left=left,
        right=None if same else right,
        notes=notes,
        scheme_a=view.scheme_a,
        scheme_b=view.scheme_b,
        controls=view.controls,
    )


def credit(desk: Desk) -> CreditResponse:
    """The credit of both panes' trajectories, each in its own batch."""
    view, run, step, id = desk.view, desk.run, desk.place.step, desk.place.id
    a, top_a = token_credit(desk.batch(), view.scheme_a, view, id)
    if view.other:
        run, _ = desk.other()
        id = view.other
        step = step_of(run, id)
    b, top_b = token_credit(desk.batch_of(run, step), view.scheme_b, view, id)
    return CreditResponse(a=a, b=b, top=max(top_a, top_b) or 1.0)


def step_of(run: Run, id: str) -> int:
    """The step of a trajectory. Raises ActFocusError where it is not in the run."""
    index = run.index()
    steps = index.loc[index["id"] == id, "step"]
    if steps.empty:
        raise ActFocusError(f"there is no trajectory \u201c{id}\u201d in the run \u201c{run.name}\u201d")
    return int(steps.iloc[0])
