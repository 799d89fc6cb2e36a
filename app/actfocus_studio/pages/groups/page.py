"""Groups: does the spread of returns increase with the energy of the actions, and which rollout is unusual?"""

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
    """Build the page. Its script draws it; requests and responses are small JSON strings."""
    PageView("groups", figure=figures.plain())
    channel = Ask("groups")
    latest: LruCache[Diagnosis] = LruCache()
    channel.ask(
        lambda text: answer(text, lambda request: handle(studio, latest, request)),
        [channel],
        [channel],
        trigger_mode="multiple",
        **PRIVATE,
    )


def handle(studio: Studio, latest: LruCache[Diagnosis], request: dict) -> dict:
    """Answer a request. Raises ActFocusError if it is invalid or names something that does not exist."""
    view = View.parse(request)
    run = studio.catalog.open(view.run)
    if request.get("op") == "groups":
        step = view.step if view.over == "step" else None
        if view.over == "step" and step is None:
            raise ActFocusError("step: give the number of a step of this run")
        found = diagnosis(run, step, view.reference or None, latest)
        own = _share(run)
        return {"groups": {**found.summary(float(view.keep) if view.keep else own or KEEP), "own": own is not None}}
    if request.get("op") == "ribbons" and view.step is not None and view.group:
        reference = view.reference if view.reference in run.references(view.step) else None
        batch = studio.batches.get(run, view.step, reference)
        return {"ribbons": ribbons(run, view.step, view.group, reference, batch)}
    raise ActFocusError("unknown request; reload the page")


def _share(run: Run) -> float | None:
    """The fraction of groups that the run itself kept; None if it does not say."""
    share = run.metadata.config.filter_share
    return share if share is not None and 0 < share <= 1 else None
