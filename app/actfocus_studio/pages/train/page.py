"""Train: start experiments over schemes and seeds, and follow them. Every run is a separate process."""

from __future__ import annotations

from actfocus_core.credit import SCHEMES
from actfocus_core.train import metrics
from actfocus_studio.jobs.experiments import ALGORITHMS, CHOICES, SEEDS_MAX, TIMES
from actfocus_studio.jobs.rollouts import ENVIRONMENTS
from actfocus_studio.pages.train import figures
from actfocus_studio.shell.components import ClientHTML
from actfocus_studio.shell.studio import Studio

NAME, TITLE = "train", "Train"


def build(studio: Studio) -> None:
    """Add the page, which its script builds."""
    ClientHTML("pages/train/page.js", elem_id="af-train", menu=menu())


def menu() -> dict:
    """The options of the form, and the template and metrics of the charts, as JSON."""
    drawn = {name: text for name, text in metrics.METRICS.items() if name not in ("step", "seconds/elapsed")}
    evaluated = {
        f"eval/{t}/success": f"success rate on the evaluation prompts at temperature {t[1:]}" for t in ("t1", "t0.5")
    }
    return {
        "environments": list(ENVIRONMENTS),
        "algorithms": list(ALGORITHMS),
        "times": list(TIMES),
        "schemes": [[name, SCHEMES[name].title] for name in CHOICES],
        "seeds": SEEDS_MAX,
        "figure": figures.experiment_chart(),
        "metrics": drawn | evaluated,
    }
