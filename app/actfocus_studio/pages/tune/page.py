"""Tune: the effect of alpha and beta on the loaded batch, and export of the setting."""

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
    """Add the page. Its script builds it; requests and answers are small JSON strings."""
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
    channel = Ask("tune")
    cache: LruCache[dict] = LruCache()
    channel.ask(
        lambda text: answer(text, lambda request: handle(studio, cache, request)),
        [channel],
        [channel],
        trigger_mode="multiple",
        **PRIVATE,
    )


def handle(studio: Studio, cache: LruCache[dict], request: dict) -> dict:
    """Answer a request of the page. Raises ActFocusError for an unknown operation, run, step or trajectory."""
    view = View.parse(request)
    run = studio.catalog.open(view.run)
    if request.get("op") == "batch" and view.step is not None:
        return {"batch": batch(studio, cache, run, view)}
    if request.get("op") == "export":
        setting = _setting(run, view)
        return {
            "texts": {
                name: {"text": text.write(setting), "needs": text.needs, "installed": text.installed}
                for name, text in EXPORTS.items()
            }
        }
    raise ActFocusError("unknown operation; reload the page")


def batch(studio: Studio, cache: LruCache[dict], run: Run, view: View) -> dict:
    """The sums from which the maps are computed, and the distributions of the signals."""
    if view.step not in run.steps():
        raise ActFocusError(f"the run \u201c{run.name}\u201d has no step {view.step}")
    reference = view.reference if view.reference in run.references(view.step) else None
    trajectory = run.trajectory(view.trajectory, reference)
    if trajectory.step != view.step:
        raise ActFocusError(f"the trajectory \u201c{view.trajectory}\u201d is not of step {view.step}")
    distribution = cache.get(
        (reference, stamp(run, [view.step])), lambda: distributions(run.trajectories(view.step, reference))
    )
    return {
        **studio.batches.get(run, view.step, reference).of(trajectory),
        "distributions": distribution,
        "score": f"actfocus score {run.path}",
    }


def _setting(run: Run, view: View) -> Setting:
    """The setting of the sidebar, with the run's environment if it is one of ENVS."""
    env = run.metadata.env
    if env not in ENVS:
        return Setting(view.alpha, view.beta, view.signal)
    return Setting(view.alpha, view.beta, view.signal, env, env_options(run))
