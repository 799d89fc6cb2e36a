"""The Trace page's routes: a trajectory is opened, and a person plays on from one of its turns."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from actfocus_core.errors import ActFocusError
from actfocus_core.reports.token_html import shown
from actfocus_core.runs import Run
from actfocus_core.signals import SIGNALS, signal_values
from actfocus_core.trajectory import Trajectory
from actfocus_studio.data import columns
from actfocus_studio.data.batch_cache import BatchConstants
from actfocus_studio.data.cache import LruCache, stamp
from actfocus_studio.data.catalog import Place, locate
from actfocus_studio.data.columns import Float32Column, Int32Column
from actfocus_studio.data.message import Message
from actfocus_studio.data.schema import BatchSums, Tokens, Turn
from actfocus_studio.data.serialize import drawn_turns, env_options, finite, signal_column, token_columns
from actfocus_studio.data.view import Filter, View, ViewRequest
from actfocus_studio.pages.trace.dialogue import DialogueData, Segment, dialogue_data, segments
from actfocus_studio.pages.trace.list_place import ListPlace, first_listed, place_in_list
from actfocus_studio.pages.trace.play import PlayRequest, PlayResponse, play
from actfocus_studio.pages.trace.tools import ToolsRequest, ToolsResponse, tools
from actfocus_studio.server.api import API
from actfocus_studio.shell.studio import Studio


class OpenRequest(ViewRequest):
    """Open a trajectory. ``restore``: every parameter of the view is taken, as of an address."""

    restore: bool = False


class RunFacts(Message):
    """The run of a trajectory."""

    name: str
    policy: str
    reference: str | None
    references: list[str]
    env: str
    options: dict[str, object]
    approximate: bool
    """Its text was tokenised again at import."""
    unstated: list[str]
    """What the imported files do not state, and how it was derived or guessed"""
    guessed: bool
    """Whether any of it was guessed"""
    score: str
    """The command that computes missing signals."""


class RewardComponent(Message):
    """A component of the reward; null: unknown."""

    name: str
    score: float | None
    weight: float | None


class TrajectoryFacts(Message):
    id: str
    group: str
    env: str
    seed: int
    rollout: int
    step: int
    model: str
    reward: float | None
    penalty: float | None
    return_: Annotated[float | None, Field(serialization_alias="return")]
    success: bool | None
    terminated: bool
    truncated: bool
    error: str
    """What ended the rollout with an error, or empty"""
    stop_reason: str
    """Why sampling ended, or empty"""
    rewards: list[RewardComponent]
    segment: int
    agent: str
    trainable: bool
    shared: int
    """Number of its first tokens that are those of segment ``parent``"""
    parent: int | None


class TracedTokens(Tokens):
    """Tokens with all that was recorded of them."""

    id: Int32Column
    logprob: Float32Column
    """Under the policy, when it sampled the token; nats."""
    ref_logprob: Float32Column
    policy_entropy: Float32Column
    energy: Float32Column
    entropy: Float32Column
    nll: Float32Column
    shift: Float32Column


class Alternatives(Message):
    """The most likely tokens at every position: rows of ids, texts and log-probs."""

    ids: list[list[int]]
    texts: list[list[str]]
    logprobs: list[list[float | None]]


class TrajectoryData(Message):
    """What does not depend on the view."""

    trajectory: TrajectoryFacts
    tokens: TracedTokens
    alternatives: Alternatives | None
    turns: list[Turn]
    dialogue: DialogueData
    batch: BatchSums


class Opened(TrajectoryData):
    """An open trajectory, its run, and its neighbours."""

    run: RunFacts
    place: Place
    list: ListPlace | None
    """Null where the view lists all rollouts in the order of the run."""
    notes: list[str]
    """What the view names and is not there."""
    segments: list[Segment]
    """The contexts of the rollout, if it has several"""
    filter: Filter
    view: View | None
    """The view, if all of it was asked for."""


class NotOpened(Message):
    """Why nothing was opened."""

    error: str
    view: View | None


TABLES_KEPT = 64
OpenResponse = Opened | NotOpened
Recent = LruCache[TrajectoryData]
TOKENS_KEPT = 800_000
"""Of the trajectories that are kept ready; a page draws some hundreds to thousands of each."""


def api(studio: Studio) -> APIRouter:
    """The routes of the page."""
    router = APIRouter(prefix=f"{API}/trace")
    recent: Recent = LruCache(TOKENS_KEPT, lambda data: len(data.tokens.text.data))
    counted: LruCache[ToolsResponse] = LruCache(TABLES_KEPT)

    @router.post("/open")
    def open_trajectory(request: OpenRequest) -> OpenResponse:
        return opened(studio, recent, request)

    @router.post("/tools")
    def tools_of(request: ToolsRequest) -> ToolsResponse:
        return batch_tools(studio, counted, request)

    @router.post("/play")
    def play_on(request: PlayRequest) -> PlayResponse:
        return play(studio.catalog.open(request.run), request.trajectory, request.turn, request.moves)

    return router


def opened(studio: Studio, recent: Recent, request: OpenRequest) -> OpenResponse:
    """A trajectory for a view, or one line that says why there is none."""
    view, notes = request.view, []
    try:
        name = view.run or studio.catalog.default()
        if request.restore and studio.catalog.find(name) is None:
            notes.append(f"There is no run \u201c{name}\u201d here; this is the default run.")
            name = studio.catalog.default()
        run = studio.catalog.open(name)
        place, missing = locate(run, first_listed(studio, run, view))
        references = run.references(place.step)
        reference = view.reference if view.reference in references else next(iter(references), None)
        data = recent.get(
            (place.id, reference, stamp(run, [place.step])),
            lambda: trajectory_data(
                run, run.trajectory(place.id, reference), studio.batches.get(run, place.step, reference)
            ),
        )
        list_place, said = place_in_list(studio, run, view, place.id)
    except ActFocusError as error:
        line = " ".join(str(error).split())
        return NotOpened(error=line, view=view if request.restore else None)
    return Opened(
        **vars(data),
        run=run_facts(run, name, reference, references),
        place=place,
        list=list_place,
        notes=notes + missing + said,
        segments=segments(run, place.id),
        filter=view.filter,
        view=view if request.restore else None,
    )


def batch_tools(studio: Studio, counted: LruCache[ToolsResponse], request: ToolsRequest) -> ToolsResponse:
    """The tools of the group or step of the trajectory that a view names."""
    view = request.view
    run = studio.catalog.open(view.run or studio.catalog.default())
    place, _ = locate(run, view)
    references = run.references(place.step)
    reference = view.reference if view.reference in references else next(iter(references), None)
    group = place.group if request.over == "group" else None

    def count() -> ToolsResponse:
        batch = studio.batches.get(run, place.step, reference)
        step = run.trajectories(place.step, reference)
        return tools([t for t in step if group is None or t.group == group], batch)

    return counted.get((group, reference, stamp(run, [place.step])), count)


def trajectory_data(run: Run, t: Trajectory, batch: BatchConstants) -> TrajectoryData:
    return TrajectoryData(
        trajectory=_facts(t),
        tokens=TracedTokens(
            **token_columns(t),
            id=columns.int32(t.token_ids),
            logprob=columns.float32(t.logprobs),
            ref_logprob=signal_column(t, t.signals.get("ref_logprob")),
            policy_entropy=signal_column(t, t.signals.get("entropy")),
            **{name: columns.float32(signal_values(t, name)) for name in SIGNALS},
        ),
        alternatives=_alternatives(t),
        turns=drawn_turns(run, t),
        dialogue=dialogue_data(t),
        batch=batch.of(t),
    )


UNSTATED = {"mask": "sampled tokens", "groups": "groups", "rewards": "rewards"}
"""The entries of the provenance that numbers on the page depend on -> their name there."""


def run_facts(run: Run, name: str, reference: str | None, references: list[str]) -> RunFacts:
    metadata = run.metadata
    sources = {entry: getattr(metadata.provenance, entry) for entry in UNSTATED}
    unstated = {entry: source for entry, source in sources.items() if source is not None and source.how != "recorded"}
    return RunFacts(
        name=name,
        policy=metadata.model_name or "unknown policy",
        reference=reference,
        references=references,
        env=metadata.env or "",
        options=env_options(run),
        approximate=metadata.approximate,
        unstated=[f"{UNSTATED[name]}: {shown(source.rule)}" for name, source in unstated.items()],
        guessed=any(source.how == "guessed" for source in unstated.values()),
        score=f"actfocus score {run.path}",
    )


def _facts(t: Trajectory) -> TrajectoryFacts:
    return TrajectoryFacts(
        id=t.id,
        group=t.group,
        env=t.env,
        seed=t.seed,
        rollout=t.rollout,
        step=t.step,
        model=t.model,
        reward=finite(t.reward),
        penalty=finite(t.penalty),
        return_=finite(t.ret),
        success=t.success,
        terminated=t.terminated,
        truncated=t.truncated,
        error=shown(t.error),
        stop_reason=shown(t.stop_reason),
        rewards=[
            RewardComponent(name=shown(name), score=finite(part.score), weight=finite(part.weight))
            for name, part in t.rewards.items()
        ],
        segment=t.segment,
        agent=shown(t.agent),
        trainable=t.trainable,
        shared=t.parent.token if t.parent else 0,
        parent=t.parent.segment if t.parent else None,
    )


def _alternatives(t: Trajectory) -> Alternatives | None:
    if t.alternatives is None:
        return None
    a = t.alternatives
    return Alternatives(
        ids=a.ids.tolist(),
        texts=[[shown(text) for text in row] for row in a.texts],
        logprobs=[[finite(value) for value in row] for row in a.logprobs.tolist()],
    )
