"""Groups: does the spread of returns follow the energy of the actions, and which rollout is the odd one?"""

from __future__ import annotations

from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_studio.data.cache import LruCache
from actfocus_studio.data.view import View
from actfocus_studio.pages.groups.diagnosis import KEEP, Diagnosis, diagnosis, ribbons
from actfocus_studio.shell import figures
from actfocus_studio.shell.components import Ask, PageView
from actfocus_studio.shell.requests import PRIVATE, answer
from actfocus_studio.shell.studio import Studio

NAME, TITLE = "groups", "Groups"


def build(studio: Studio) -> None:
    """The page is built by its script; requests and answers are small JSON strings."""
    PageView("groups", figure=figures.plain())
    asked = Ask("groups")
    latest: LruCache[Diagnosis] = LruCache()
    asked.ask(
        lambda text: answer(text, lambda one: handle(studio, latest, one)),
        [asked],
        [asked],
        trigger_mode="multiple",
        **PRIVATE,
    )


def handle(studio: Studio, latest: LruCache[Diagnosis], asked: dict) -> dict:
    """Answer a request of the page. Raises ActFocusError where it is not there or makes no sense."""
    view = View.parse(asked)
    run = studio.catalog.open(view.run)
    if asked.get("op") == "groups":
        step = view.step if view.over == "step" else None
        if view.over == "step" and step is None:
            raise ActFocusError("step: give the number of a step of this run")
        found = diagnosis(run, step, view.reference or None, latest)
        own = _share(run)
        return {"groups": {**found.summary(float(view.keep) if view.keep else own or KEEP), "own": own is not None}}
    if asked.get("op") == "ribbons" and view.step is not None and view.group:
        reference = view.reference if view.reference in run.references(view.step) else None
        batch = studio.batches.get(run, view.step, reference)
        return {"ribbons": ribbons(run, view.step, view.group, reference, batch)}
    raise ActFocusError("the page asked for something unknown; reload it")


def _share(run: Run) -> float | None:
    """The share of groups that the run itself kept; None where it does not say."""
    share = run.metadata.config.filter_share
    return share if share is not None and 0 < share <= 1 else None
