"""The Train page's routes: experiments are started, followed and inspected."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from actfocus_studio.data import columns, models
from actfocus_studio.data.columns import Float64Column
from actfocus_studio.data.message import Message, Request
from actfocus_studio.data.view import Name, View, ViewRequest
from actfocus_studio.jobs.experiments import ExperimentRequest, Experiments
from actfocus_studio.jobs.experiments.evaluations import comparisons, final_evaluations
from actfocus_studio.pages.train.evaluation import PromptEvaluations, evaluations
from actfocus_studio.pages.train.prompt import PromptOverTime, prompt_over_time
from actfocus_studio.server.api import API
from actfocus_studio.shell.studio import Studio

EXPERIMENTS_MAX = 50
"""Maximum number of experiments listed on the page."""
RUNS_MAX = 1000
"""Maximum number of runs with a cursor in a request."""
RunState = Literal["queued", "waiting", "starting", "running", "paused", "stopped", "finished", "failed", "killed"]


class TrainingForm(ViewRequest):
    """What to train. ActFocus takes alpha, beta and the signal of the view."""

    environment: Name
    algorithm: Name
    schemes: list[Name] = Field(max_length=50)
    seeds: int = Field(strict=True)
    time: Name
    policy: Annotated[str, Field(max_length=1000)]
    """One of the listed policies."""


class TrainingEstimate(Message):
    """How long an experiment may take."""

    runs: int
    steps: int
    """Of each run."""
    seconds: float
    rate: float
    """Seconds per step, including evaluations."""
    measured: bool


class StartedExperiment(Message):
    id: str


class ListRequest(Request):
    """A list that does not depend on the page."""


class PolicyOption(Message):
    """A policy that can be trained here."""

    name: str
    title: str


class PolicyList(Message):
    policies: list[PolicyOption]


class ExperimentSummary(Message):
    """An experiment in the list."""

    id: str
    environment: str
    algorithm: str
    policy: str
    """Short name of the initial policy."""
    states: list[RunState]
    """Of its runs."""


class ExperimentList(Message):
    """Newest first."""

    experiments: list[ExperimentSummary]


class LookRequest(Request):
    """The state of an experiment, and its metrics since the last answer. ``cursors``: run -> its cursor there."""

    id: Name
    cursors: dict[Name, Annotated[int, Field(ge=0, lt=1 << 50, strict=True)]] = Field({}, max_length=RUNS_MAX)


class TrainedRun(Message):
    """A run of an experiment, and what is new in its metrics."""

    name: str
    scheme: str
    seed: int
    state: RunState
    step: int
    phase: str
    elapsed: float
    message: str
    log: str = ""
    """The end of its log, where it failed."""
    place: int | None
    """In the queue, from 1."""
    metrics: dict[str, Float64Column]
    """Metric -> its value in every new row; ``step`` is one of them."""
    cursor: int
    more: bool
    """There are more new rows than this answer holds."""


class SchemeComparison(Message):
    """Difference in final success rate between a scheme and the baseline, paired by seed; null with too few seeds."""

    scheme: str
    baseline: str
    seeds: int
    mean: float | None
    low: float | None
    high: float | None


class Experiment(Message):
    id: str
    environment: str
    algorithm: str
    policy: str
    steps: int
    """Of each run."""
    runs: list[TrainedRun]
    comparisons: list[SchemeComparison]


class ControlRequest(Request):
    """Pause, resume or stop an experiment."""

    id: Name
    what: Literal["pause", "go", "stop"]


class Controlled(Message):
    """It was asked for."""


class RunRequest(Request):
    """A run of an experiment."""

    id: Name
    name: Name


class RunDetails(Message):
    """The log and config of a run, and how to repeat it."""

    log: str
    config: str
    """JSON; empty where it is not written yet."""
    command: str
    python: str


class EvaluationAnswer(Message):
    evaluation: PromptEvaluations | None


class PromptRequest(RunRequest):
    """An evaluation prompt of a run at every evaluated step."""

    seed: int = Field(strict=True)


def api(studio: Studio) -> APIRouter:
    """The routes of the page."""
    router, experiments = APIRouter(prefix=f"{API}/train"), studio.experiments

    @router.post("/list")
    def listing(request: ListRequest) -> ExperimentList:
        return listed(experiments)

    @router.post("/policies")
    def policies(request: ListRequest) -> PolicyList:
        installed = models.installed(experiments.runs_dir)
        return PolicyList(policies=[PolicyOption(name=model.name, title=model.title) for model in installed])

    @router.post("/estimate")
    def estimate(request: TrainingForm) -> TrainingEstimate:
        return TrainingEstimate(**experiments.estimate(wanted(experiments, request)))

    @router.post("/start")
    def start(request: TrainingForm) -> StartedExperiment:
        return StartedExperiment(id=experiments.start(wanted(experiments, request)))

    @router.post("/look")
    def look_at(request: LookRequest) -> Experiment:
        return look(experiments, request.id, request.cursors)

    @router.post("/control")
    def control(request: ControlRequest) -> Controlled:
        experiments.ask(request.id, request.what)
        return Controlled()

    @router.post("/details")
    def details(request: RunRequest) -> RunDetails:
        found = experiments.log(request.id, request.name)
        config = json.dumps(found["config"], indent=1) if found["config"] else ""
        return RunDetails(log=found["log"], config=config, command=found["command"], python=found["python"])

    @router.post("/evaluation")
    def evaluation(request: RunRequest) -> EvaluationAnswer:
        return EvaluationAnswer(evaluation=evaluations(experiments.path(request.id, request.name)))

    @router.post("/prompt")
    def prompt(request: PromptRequest) -> PromptOverTime:
        return prompt_over_time(experiments.path(request.id, request.name), request.seed)

    return router


def listed(experiments: Experiments) -> ExperimentList:
    """The newest experiments."""
    rows = experiments.listing()[:EXPERIMENTS_MAX]
    return ExperimentList(experiments=[ExperimentSummary(**_about(row), states=row["states"]) for row in rows])


def wanted(experiments: Experiments, form: TrainingForm) -> ExperimentRequest:
    """The experiment of the form. Raises ActFocusError for a value that is not offered."""
    view: View = form.view
    found = ExperimentRequest(
        form.environment,
        form.algorithm,
        form.schemes,
        form.seeds,
        form.time,
        view.alpha,
        view.beta,
        view.signal,
        form.policy,
    )
    models.chosen(found.policy, experiments.runs_dir)
    return found


def look(experiments: Experiments, id: str, cursors: dict[str, int]) -> Experiment:
    """An experiment now, with the metrics of its runs since their cursors, and its schemes compared."""
    found = experiments.look(id, cursors)
    finals = final_evaluations(experiments.runs_dir, found["runs"])
    compared = comparisons([run["scheme"] for run in found["runs"]], finals)
    return Experiment(
        **_about(found),
        steps=found["steps"],
        runs=[_run(run) for run in found["runs"]],
        comparisons=[SchemeComparison(**one) for one in compared],
    )


def _about(found: dict) -> dict[str, str]:
    asked = found["request"]
    return {
        "id": found["id"],
        "environment": asked["environment"],
        "algorithm": asked["algorithm"],
        "policy": found["policy"],
    }


def _run(run: dict[str, Any]) -> TrainedRun:
    same = {name: run[name] for name in TrainedRun.model_fields if name in run}
    return TrainedRun(**same, metrics={name: _column(values) for name, values in run["columns"].items()})


def _column(values: list[float | None]) -> Float64Column:
    return columns.float64(math.nan if value is None else value for value in values)
