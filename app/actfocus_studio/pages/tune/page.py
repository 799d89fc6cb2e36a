"""Tune: what alpha and beta do to the loaded batch, and the setting to carry elsewhere."""

from __future__ import annotations

from actfocus_core.envs import ENVS
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.recipes import EXPORTS, Setting
from actfocus_core.runs import Run
from actfocus_studio.data.cache import LruCache, stamp
from actfocus_studio.data.serialize import dump, env_options
from actfocus_studio.data.view import View
from actfocus_studio.pages.tune.distribution import QUANTILES, distributions
from actfocus_studio.shell import figures
from actfocus_studio.shell.components import Ask, PageView
from actfocus_studio.shell.controls import presets
from actfocus_studio.shell.requests import PRIVATE, answer
from actfocus_studio.shell.studio import Studio

NAME, TITLE = "tune", "Tune"


def build(studio: Studio) -> None:
    """The page is built by its script; requests and answers are small JSON strings."""
    PageView(
        "tune",
        figure=figures.plain(),
        menu=dump(
            {
                "presets": presets(),
                "quantiles": QUANTILES,
                "exports": [[name, text.title] for name, text in EXPORTS.items()],
            }
        ),
    )
    asked = Ask("tune")
    latest: LruCache[dict] = LruCache()
    asked.ask(
        lambda text: answer(text, lambda one: handle(studio, latest, one)),
        [asked],
        [asked],
        trigger_mode="multiple",
        **PRIVATE,
    )


def handle(studio: Studio, latest: LruCache[dict], asked: dict) -> dict:
    """Answer a request of the page. Raises ActFocusError where it is not there or makes no sense."""
    view = View.parse(asked)
    run = studio.catalog.open(view.run)
    if asked.get("op") == "batch" and view.step is not None:
        return {"batch": batch(studio, latest, run, view)}
    if asked.get("op") == "export":
        setting = _setting(run, view)
        return {
            "texts": {
                name: {"text": text.write(setting), "needs": text.needs, "installed": text.installed}
                for name, text in EXPORTS.items()
            }
        }
    raise ActFocusError("the page asked for something unknown; reload it")


def batch(studio: Studio, latest: LruCache[dict], run: Run, view: View) -> dict:
    """The sums behind the map, as a trajectory's page has them, and the distributions of the signals."""
    if view.step not in run.steps():
        raise ActFocusError(f"the run \u201c{run.name}\u201d has no step {view.step}")
    reference = view.reference if view.reference in run.references(view.step) else None
    trajectory = run.trajectory(view.trajectory, reference)
    if trajectory.step != view.step:
        raise ActFocusError(f"the trajectory \u201c{view.trajectory}\u201d is not of step {view.step}")
    found = latest.get(
        (reference, stamp(run, [view.step])), lambda: distributions(run.trajectories(view.step, reference))
    )
    return {
        **studio.batches.get(run, view.step, reference).of(trajectory),
        "distributions": found,
        "score": f"actfocus score {run.path}",
    }


def _setting(run: Run, view: View) -> Setting:
    """The setting of the sidebar on this run's environment; another trainer's environment is left out."""
    env = run.metadata.env
    if env not in ENVS:
        return Setting(view.alpha, view.beta, view.signal)
    return Setting(view.alpha, view.beta, view.signal, env, env_options(run))
