"""The what-if panel: one update replayed, a trajectory branched or edited, an update in slow motion."""

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
from actfocus_studio.panels.whatif import requests as asking
from actfocus_studio.panels.whatif import serialize as telling
from actfocus_studio.shell.components import Ask, PageView
from actfocus_studio.shell.requests import PRIVATE, answer
from actfocus_studio.shell.studio import Studio


def whatif_panel(studio: Studio) -> None:
    """Build the panel; requests and answers are JSON strings."""
    PageView("whatif", menu=menu())
    asked = Ask("whatif")
    panel = Panel(studio, studio.whatif)
    asked.ask(lambda text: answer(text, panel.handle), [asked], [asked], trigger_mode="multiple", **PRIVATE)


def menu() -> str:
    """What the forms offer."""
    return dump(
        {
            "schemes": [[name, SCHEMES[name].title] for name in asking.CHOICES],
            "schemes_max": asking.SCHEMES_MAX,
            "groups": asking.GROUPS,
            "evaluations": asking.EVALUATIONS,
            "rollouts_max": asking.ROLLOUTS_MAX,
            "text_max": asking.TEXT_MAX,
        }
    )


class Panel:
    """What the panel of every page is told."""

    def __init__(self, studio: Studio, process: WhatIfProcess):
        self.studio, self.process, self.answers = studio, process, Answers(process)

    def handle(self, asked: dict) -> dict:
        """Answer a request of the page. Raises ActFocusError where it is not there or makes no sense."""
        op = asked.get("op")
        if op == "look":
            return {"job": asdict(self.process.status())}
        if op == "cancel":
            self.process.cancel()
            return {"job": asdict(self.process.status())}
        view = View.parse(asked)
        name = view.run or self.studio.catalog.default()
        run = self.studio.catalog.open(name)
        if op == "list":
            return {"list": self.answers.listing(run)}
        if op in ("show", "motion"):
            what, kept = self.answers.load(run, asked.get("id"))
            if op == "motion":
                return {"motion": telling.motion(what, run, view.trajectory, str(asked.get("scheme")))}
            return {
                "what": {**telling.shown(what, run, view.trajectory, _original(run, what)), "kept": kept, "run": name}
            }
        place, _ = locate(run, view)
        t = run.trajectory(place.id, None)
        if op == "facts":
            found = asking.facts(run, t)
            if found["model"] and not self.studio.read_only:
                self.process.warm()
            return {"facts": {**found, "run": name}}
        if op == "start":
            kind = asked.get("kind")
            if not isinstance(kind, str) or kind not in asking.KINDS:
                raise ActFocusError(f"kind: must be one of {', '.join(asking.KINDS)}")
            if self.studio.read_only:
                raise ActFocusError(READ_ONLY)
            asking.model_of(run)
            return {"job": asdict(self.process.start(run, name, kind, asking.KINDS[kind](run, view, asked, t)))}
        raise ActFocusError("the page asked for something unknown; reload it")


def _original(run: Run, what: whatif.WhatIf) -> Trajectory | None:
    """The stored trajectory a branch began from."""
    return run.trajectory(what.request["trajectory"], None) if what.kind == "branch" else None
