"""The What-if panel: replay an update, branch or edit a trajectory, walk through an update step by step."""

from __future__ import annotations

from dataclasses import asdict

from actfocus_core.counterfactual import store as whatif
from actfocus_core.credit import SCHEMES
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.trajectory import Trajectory
from actfocus_studio.data.catalog import locate
from actfocus_studio.data.serialize import dump
from actfocus_studio.data.view import View
from actfocus_studio.jobs.whatif.answers import Answers
from actfocus_studio.jobs.whatif.process import WhatIfProcess
from actfocus_studio.jobs.worker import READ_ONLY
from actfocus_studio.panels.whatif import requests, serialize
from actfocus_studio.shell.components import Ask, PageView
from actfocus_studio.shell.requests import PRIVATE, answer
from actfocus_studio.shell.studio import Studio


def whatif_panel(studio: Studio) -> None:
    """Build the panel. Requests and responses are JSON strings."""
    PageView("whatif", menu=menu())
    channel = Ask("whatif")
    panel = Panel(studio, studio.whatif)
    channel.ask(lambda text: answer(text, panel.handle), [channel], [channel], trigger_mode="multiple", **PRIVATE)


def menu() -> str:
    """The choices and limits of the forms, as JSON."""
    return dump(
        {
            "schemes": [[name, SCHEMES[name].title] for name in requests.CHOICES],
            "schemes_max": requests.SCHEMES_MAX,
            "groups": requests.GROUPS,
            "evaluations": requests.EVALUATIONS,
            "rollouts_max": requests.ROLLOUTS_MAX,
            "text_max": requests.TEXT_MAX,
        }
    )


class Panel:
    """Answers the requests of the panel."""

    def __init__(self, studio: Studio, process: WhatIfProcess):
        self.studio, self.process, self.answers = studio, process, Answers(process)

    def handle(self, request: dict) -> dict:
        """Answer a request. Raises ActFocusError if it is invalid or names something that does not exist."""
        op = request.get("op")
        if op == "look":
            return {"job": asdict(self.process.status())}
        if op == "cancel":
            self.process.cancel()
            return {"job": asdict(self.process.status())}
        view = View.parse(request)
        name = view.run or self.studio.catalog.default()
        run = self.studio.catalog.open(name)
        if op == "list":
            return {"list": self.answers.listing(run)}
        if op in ("show", "motion"):
            what, kept = self.answers.load(run, request.get("id"))
            if op == "motion":
                return {"motion": serialize.motion(what, run, view.trajectory, str(request.get("scheme")))}
            return {
                "what": {**serialize.shown(what, run, view.trajectory, _original(run, what)), "kept": kept, "run": name}
            }
        place, _ = locate(run, view)
        t = run.trajectory(place.id, None)
        if op == "facts":
            facts = requests.facts(run, t)
            if facts["model"] and not self.studio.read_only:
                self.process.warm()
            return {"facts": {**facts, "run": name}}
        if op == "start":
            kind = request.get("kind")
            if not isinstance(kind, str) or kind not in requests.KINDS:
                raise ActFocusError(f"kind: must be one of {', '.join(requests.KINDS)}")
            if self.studio.read_only:
                raise ActFocusError(READ_ONLY)
            requests.model_of(run)
            return {"job": asdict(self.process.start(run, name, kind, requests.KINDS[kind](run, view, request, t)))}
        raise ActFocusError("unknown request; reload the page")


def _original(run: Run, what: whatif.WhatIf) -> Trajectory | None:
    """The stored trajectory that was branched; None for other kinds."""
    return run.trajectory(what.request["trajectory"], None) if what.kind == "branch" else None
