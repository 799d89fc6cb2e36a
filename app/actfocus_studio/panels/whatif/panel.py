"""The What-if panel: replay an update, branch or edit a trajectory, walk through an update step by step."""

from __future__ import annotations

from actfocus_core.credit import SCHEMES
from actfocus_studio.panels.whatif import requests
from actfocus_studio.shell.components import ClientHTML


def build() -> None:
    """Build the panel."""
    ClientHTML("panels/whatif/panel.js", elem_id="af-whatif", menu=menu())


def menu() -> dict:
    """The choices and limits of the forms, as JSON."""
    return {
        "schemes": [[name, SCHEMES[name].title] for name in requests.CHOICES],
        "schemes_max": requests.SCHEMES_MAX,
        "groups": requests.GROUPS,
        "evaluations": requests.EVALUATIONS,
        "rollouts_max": requests.ROLLOUTS_MAX,
        "temperature_max": requests.TEMPERATURE_MAX,
        "seed_max": requests.SEED_MAX,
        "text_max": requests.TEXT_MAX,
    }
