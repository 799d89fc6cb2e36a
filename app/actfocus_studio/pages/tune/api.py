"""The Tune page's routes: what follows for any alpha and beta on a batch, and the setting as text."""

from __future__ import annotations

from fastapi import APIRouter

from actfocus_core.envs import ENVS
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.recipes import EXPORTS, Setting
from actfocus_core.runs import Run
from actfocus_studio.data.cache import LruCache, stamp
from actfocus_studio.data.message import Message
from actfocus_studio.data.schema import BatchSums
from actfocus_studio.data.serialize import env_options
from actfocus_studio.data.view import View, ViewRequest
from actfocus_studio.pages.tune.distribution import Distribution, distributions
from actfocus_studio.server.api import API
from actfocus_studio.shell.studio import Studio


class TuneBatch(BatchSums):
    """The sums from which the maps are computed, and the distributions of the signals."""

    distributions: dict[str, Distribution | None]
    """By signal; null where no response token has it."""
    score: str
    """The command that computes missing signals."""


class ExportedText(Message):
    """The setting as a script or command."""

    text: str
    needs: str
    """The plug-in that it requires; empty: none."""
    installed: bool


class ExportedSetting(Message):
    texts: dict[str, ExportedText]
    """By the names of ``View.export``."""


Recent = LruCache[dict[str, Distribution | None]]


def api(studio: Studio) -> APIRouter:
    """The routes of the page."""
    router = APIRouter(prefix=f"{API}/tune")
    recent: Recent = LruCache()

    @router.post("/batch")
    def sums(request: ViewRequest) -> TuneBatch:
        return tune_batch(studio, recent, request.view)

    @router.post("/export")
    def export(request: ViewRequest) -> ExportedSetting:
        return exported(studio.catalog.open(request.view.run), request.view)

    return router


def tune_batch(studio: Studio, recent: Recent, view: View) -> TuneBatch:
    """The batch of the view's step, with the statistics as its trajectory needs them."""
    run = studio.catalog.open(view.run)
    if view.step is None or view.step not in run.steps():
        raise ActFocusError(f"the run \u201c{run.name}\u201d has no step {view.step}")
    reference = view.reference if view.reference in run.references(view.step) else None
    trajectory = run.trajectory(view.trajectory, reference)
    if trajectory.step != view.step:
        raise ActFocusError(f"the trajectory \u201c{view.trajectory}\u201d is not of step {view.step}")
    return TuneBatch(
        **vars(studio.batches.get(run, view.step, reference).of(trajectory)),
        distributions=recent.get(
            (reference, stamp(run, [view.step])), lambda: distributions(run.trajectories(view.step, reference))
        ),
        score=f"actfocus score {run.path}",
    )


def exported(run: Run, view: View) -> ExportedSetting:
    """The setting of the sidebar in every form, with the run's environment if it is one of ENVS."""
    env = run.metadata.env
    place = (env, env_options(run)) if env in ENVS else ()
    setting = Setting(view.alpha, view.beta, view.signal, *place)
    return ExportedSetting(
        texts={
            name: ExportedText(text=recipe.write(setting), needs=recipe.needs, installed=recipe.installed)
            for name, recipe in EXPORTS.items()
        }
    )
