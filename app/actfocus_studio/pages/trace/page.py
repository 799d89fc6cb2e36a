"""Trace: step through one trajectory; every token with its kind, weight and signals."""

from __future__ import annotations

import json

import gradio as gr

from actfocus_core.errors import ActFocusError
from actfocus_studio.data.cache import stamp
from actfocus_studio.data.catalog import locate
from actfocus_studio.data.serialize import error_payload, trace_payload, trajectory_payload
from actfocus_studio.data.view import View
from actfocus_studio.pages.trace import play
from actfocus_studio.pages.trace.component import TraceView
from actfocus_studio.shell.components import Ask, Nav
from actfocus_studio.shell.controls import Controls
from actfocus_studio.shell.studio import Studio

NAME, TITLE = "trace", "Trace"
PRIVATE = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
REQUEST_MAX = 4000
"""Characters of a request; a page sends about 200."""


def build(studio: Studio) -> None:
    """Build the page and its events: the first view, navigation, and playing."""
    nav, trace = Nav(), TraceView()
    moves = Ask("play")

    def first(request: gr.Request) -> list:
        view = View.parse(dict(request.query_params))
        return [payload(studio, view, restore=True), *Controls.values(view)]

    def go(request: object) -> str:
        fields = _request(request)
        return payload(studio, View.parse(fields), restore=fields.get("restore") is True)

    studio.demo.load(first, None, [trace, *studio.controls.all()], **PRIVATE)
    nav.go(go, [nav], [nav], **PRIVATE)
    moves.ask(lambda text: play.answer(studio.catalog.open, text), [moves], [moves], **PRIVATE)


def payload(studio: Studio, view: View, restore: bool) -> str:
    """The page's JSON for a view: a trajectory, or an error of one line."""
    names = list(studio.catalog.paths())
    notes = []
    try:
        name = view.run or studio.catalog.default()
        if restore and name not in names:
            notes.append(f"There is no run \u201c{name}\u201d here; this is the default run.")
            name = studio.catalog.default()
        run = studio.catalog.open(name)
        place, missing = locate(run, view)
        references = run.references(place.step)
        reference = view.reference if view.reference in references else next(iter(references), None)
        text = studio.trajectories.get(
            (place.id, reference, stamp(run, [place.step])),
            lambda: trajectory_payload(
                run, run.trajectory(place.id, reference), studio.batches.get(run, place.step, reference)
            ),
        )
        return trace_payload(
            run,
            text,
            place,
            runs=names,
            name=name,
            reference=reference,
            view=view,
            restore=restore,
            notes=notes + missing,
        )
    except ActFocusError as error:
        return error_payload(str(error), names, view if restore else None)


def _request(text: object) -> dict:
    """The fields of a request; an empty dict for anything but a small JSON object."""
    if not isinstance(text, str) or len(text) > REQUEST_MAX:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
