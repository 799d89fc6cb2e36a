"""Train: start experiments over schemes and seeds, and follow them. Every run is a separate process."""

from __future__ import annotations

import json

import numpy as np

from actfocus_core.credit import SCHEMES
from actfocus_core.errors import ActFocusError
from actfocus_core.outcomes import mean_known
from actfocus_core.runs import Run
from actfocus_core.signals import SIGNALS
from actfocus_core.train import metrics
from actfocus_studio.data import models
from actfocus_studio.data.serialize import dump, numbers
from actfocus_studio.jobs.experiments import ALGORITHMS, CHOICES, SEEDS_MAX, TIMES, ExperimentRequest, Experiments
from actfocus_studio.jobs.experiments.evaluations import comparisons, final_evaluations
from actfocus_studio.jobs.rollouts import ENVIRONMENTS
from actfocus_studio.pages.train import figures
from actfocus_studio.pages.train.prompt import over_time
from actfocus_studio.shell.components import Ask, PageView
from actfocus_studio.shell.requests import PRIVATE, answer
from actfocus_studio.shell.studio import Studio

NAME, TITLE = "train", "Train"
EXPERIMENTS_MAX = 50
"""Maximum number of experiments listed on the page."""
EVALUATION = "t1"
"""The stored evaluation that the page shows: temperature 1 reveals differences that 0.5 hides."""


def build(studio: Studio) -> None:
    """Add the page. Its script builds it; requests and answers are small JSON strings."""
    PageView("train", menu=menu())
    channel = Ask("train")
    channel.ask(
        lambda text: answer(text, lambda request: handle(studio.experiments, request)),
        [channel],
        [channel],
        trigger_mode="multiple",
        **PRIVATE,
    )


def menu() -> str:
    """The options of the form, and the template and metrics of the charts, as JSON."""
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
                f"eval/{t}/success": f"success rate on the evaluation prompts at temperature {t[1:]}"
                for t in ("t1", "t0.5")
            },
        }
    )


def handle(experiments: Experiments, request: dict) -> dict:
    """Answer a request of the page. Raises ActFocusError for an unknown operation, experiment or run."""
    what, id = request.get("op"), request.get("id")
    if what == "list":
        return {"races": experiments.listing()[:EXPERIMENTS_MAX]}
    if what == "policies":
        return {"policies": [[model.name, model.title] for model in models.installed(experiments.runs_dir)]}
    if what == "look":
        return {"race": look(experiments, id, _cursors(request.get("cursors")))}
    if what == "ask":
        experiments.ask(id, request.get("what"))
        return {"done": True}
    if what == "log":
        return experiments.log(id, request.get("name"))
    if what == "evaluation":
        return {"evaluation": evaluation(experiments, id, request.get("name"))}
    if what == "prompt":
        return {"prompt": prompt(experiments, id, request.get("name"), request.get("seed"))}
    if what in ("estimate", "start"):
        try:
            wanted = ExperimentRequest(**request["request"])
        except (LookupError, TypeError):
            raise ActFocusError("the form could not be read; reload the page") from None
        models.chosen(wanted.policy, experiments.runs_dir)
        return (
            {"estimate": experiments.estimate(wanted)} if what == "estimate" else {"started": experiments.start(wanted)}
        )
    raise ActFocusError("unknown operation; reload the page")


def look(experiments: Experiments, id: str, cursors: dict[str, int]) -> dict:
    """An experiment as ``Experiments.look`` gives it, with its paired ``comparisons`` of schemes."""
    race = experiments.look(id, cursors)
    finals = final_evaluations(experiments.runs_dir, race["runs"])
    return {**race, "comparisons": comparisons([run["scheme"] for run in race["runs"]], finals)}


def evaluation(experiments: Experiments, id: str, name: str) -> dict | None:
    """Success rates of the evaluation prompts at every evaluated step; None where none is stored.

    ``success`` [prompts][steps] and its mean over prompts ``mean`` [steps], each between 0 and 1 or None; ``ids``
    [prompts][steps]: the first rollout of each cell.
    """
    path = experiments.path(id, name)
    stored = Run.open(path).evaluation(EVALUATION) if path.is_dir() else None
    if stored is None:
        return None
    index = stored.index()
    steps = sorted(int(step) for step in index["step"].unique())
    seeds = sorted(int(seed) for seed in index["seed"].unique())
    found = index.groupby(["seed", "step"])
    rate, first = found["success"].mean().astype(float), found["id"].first()
    cells = np.array([[rate.get((seed, step), np.nan) for step in steps] for seed in seeds], np.float64)
    return {
        "run": f"{name} evaluation {EVALUATION}",
        "steps": steps,
        "prompts": seeds,
        "success": [numbers(row) for row in cells],
        "mean": numbers(np.array([mean_known(column).mean for column in cells.T])),
        "ids": [[first.get((seed, step)) for step in steps] for seed in seeds],
    }


def prompt(experiments: Experiments, id: str, name: str, seed: object) -> dict:
    """One evaluation prompt at every evaluated step. Raises ActFocusError where it was not evaluated."""
    path = experiments.path(id, name)
    if type(seed) is not int:
        raise ActFocusError("the prompt must be one of the evaluation's seeds")
    run = Run.open(path)
    stored = run.evaluation(EVALUATION)
    if stored is None:
        raise ActFocusError(f"{path}: has no evaluation {EVALUATION}")
    return over_time(run, stored, seed)


def _cursors(value: object) -> dict[str, int]:
    """Byte offsets by run. Invalid ones are dropped, so that the rows of the run are sent from the start."""
    if not isinstance(value, dict):
        return {}
    return {name: n for name, n in value.items() if type(n) is int and 0 <= n < 1 << 50}
