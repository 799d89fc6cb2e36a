"""Train: start an experiment of schemes and seeds, and watch it; every run is a process of its own."""

from __future__ import annotations

import json

import numpy as np

from actfocus_core.credit import SCHEMES
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.signals import SIGNALS
from actfocus_core.train import metrics
from actfocus_studio.data import models
from actfocus_studio.data.serialize import dump
from actfocus_studio.jobs.experiments import ALGORITHMS, CHOICES, SEEDS_MAX, TIMES, ExperimentRequest, Experiments
from actfocus_studio.jobs.rollouts import ENVIRONMENTS
from actfocus_studio.pages.train import figures
from actfocus_studio.pages.train.prompt import over_time
from actfocus_studio.shell.components import Ask, PageView
from actfocus_studio.shell.requests import PRIVATE, answer
from actfocus_studio.shell.studio import Studio

NAME, TITLE = "train", "Train"
EXPERIMENTS_MAX = 50
"""Listed in the page."""
EVALUATION = "t1"
"""The evaluation that is looked into: temperature 1 shows differences that 0.5 hides."""


def build(studio: Studio) -> None:
    """The page is built by its script; requests and answers are small JSON strings."""
    PageView("train", menu=menu())
    asked = Ask("train")
    asked.ask(
        lambda text: answer(text, lambda one: handle(studio.experiments, one)),
        [asked],
        [asked],
        trigger_mode="multiple",
        **PRIVATE,
    )


def menu() -> str:
    """What the form offers, and the charts."""
    return dump(
        {
            "environments": list(ENVIRONMENTS),
            "algorithms": list(ALGORITHMS),
            "times": list(TIMES),
            "schemes": [[name, SCHEMES[name].title] for name in CHOICES],
            "signals": list(SIGNALS),
            "seeds": SEEDS_MAX,
            "figure": json.loads(figures.experiment_chart()),
            "metrics": {name: text for name, text in metrics.METRICS.items() if name not in ("step", "seconds/elapsed")}
            | {
                f"eval/{t}/success": f"success on the evaluation prompts at temperature {t[1:]}" for t in ("t1", "t0.5")
            },
        }
    )


def handle(experiments: Experiments, asked: dict) -> dict:
    """Answer a request of the page. Raises ActFocusError where it is not there or makes no sense."""
    what, id = asked.get("op"), asked.get("id")
    if what == "list":
        return {"races": experiments.listing()[:EXPERIMENTS_MAX]}
    if what == "policies":
        return {"policies": [[model.name, model.title] for model in models.installed(experiments.runs_dir)]}
    if what == "look":
        return {"race": experiments.look(id, _cursors(asked.get("cursors")))}
    if what == "ask":
        experiments.ask(id, asked.get("what"))
        return {"done": True}
    if what == "log":
        return experiments.log(id, asked.get("name"))
    if what == "evaluation":
        return {"evaluation": evaluation(experiments, id, asked.get("name"))}
    if what == "prompt":
        return {"prompt": prompt(experiments, id, asked.get("name"), asked.get("seed"))}
    if what in ("estimate", "start"):
        try:
            request = ExperimentRequest(**asked["request"])
        except (LookupError, TypeError):
            raise ActFocusError("the form could not be read; reload the page") from None
        models.chosen(request.policy, experiments.runs_dir)
        return (
            {"estimate": experiments.estimate(request)}
            if what == "estimate"
            else {"started": experiments.start(request)}
        )
    raise ActFocusError("the page asked for something unknown; reload it")


def evaluation(experiments: Experiments, id: str, name: str) -> dict | None:
    """Success of every evaluation prompt at every evaluated step, and a trajectory to open for each."""
    path = experiments.path(id, name)
    stored = Run.open(path).evaluation(EVALUATION) if path.is_dir() else None
    if stored is None:
        return None
    index = stored.index()
    steps = sorted(int(step) for step in index["step"].unique())
    seeds = sorted(int(seed) for seed in index["seed"].unique())
    found = index.groupby(["seed", "step"])
    rate, first = found["success"].mean().astype(float), found["id"].first()
    cell = [[float(rate.get((seed, step), np.nan)) for step in steps] for seed in seeds]
    return {
        "run": f"{name} evaluation {EVALUATION}",
        "steps": steps,
        "prompts": seeds,
        "success": [[None if np.isnan(x) else x for x in row] for row in cell],
        "ids": [[first.get((seed, step)) for step in steps] for seed in seeds],
    }


def prompt(experiments: Experiments, id: str, name: str, seed: object) -> dict:
    """One evaluation prompt at every evaluated step."""
    path = experiments.path(id, name)
    if type(seed) is not int:
        raise ActFocusError("the prompt must be one of the evaluation's seeds")
    run = Run.open(path)
    stored = run.evaluation(EVALUATION)
    if stored is None:
        raise ActFocusError(f"{path}: has no evaluation {EVALUATION}")
    return over_time(run, stored, seed)


def _cursors(value: object) -> dict[str, int]:
    """Byte offsets by run; what is not one is left out, and the run's rows are sent from the start."""
    if not isinstance(value, dict):
        return {}
    return {name: n for name, n in value.items() if type(n) is int and 0 <= n < 1 << 50}
