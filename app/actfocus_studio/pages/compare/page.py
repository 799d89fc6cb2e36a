"""Compare: credit schemes side by side on the same rollouts, and against ground truth where it is known."""

from __future__ import annotations

from actfocus_core.analysis.scoreboard import COLUMNS
from actfocus_core.credit import CONTROLS, HOW_TO_GET, SCHEMES
from actfocus_core.reports.sections.scoreboard import HEADS
from actfocus_core.runs import ANNOTATIONS
from actfocus_studio.jobs.signals import VALUES
from actfocus_studio.shell.components import ClientHTML
from actfocus_studio.shell.studio import Studio

NAME, TITLE = "compare", "Compare"
FROM_REFERENCE = ("energy", "entropy", "centred_energy", "shift")
"""Signals that scoring with a reference model adds."""
FROM_ORACLE = {"optimal": "oracle-optimal", "policy": "oracle-policy", "answers": "oracle-answers"}
"""Key of VALUES -> the annotation it adds."""
FACTS = ("title", "description", "source", "read", "cost", "unit", "evidence", "needs")


def build(studio: Studio) -> None:
    """Build the page."""
    ClientHTML("pages/compare/page.js", elem_id="af-compare", menu=menu())


def menu() -> dict:
    """What does not depend on a run: schemes, null controls and the columns of the scoreboard."""
    return {
        "schemes": {name: {fact: getattr(scheme, fact) for fact in FACTS} for name, scheme in SCHEMES.items()},
        "controls": CONTROLS,
        "how": HOW_TO_GET,
        "columns": COLUMNS,
        "heads": HEADS,
        "from_reference": list(FROM_REFERENCE),
        "values": {signal: value for value, annotation in FROM_ORACLE.items() for signal in ANNOTATIONS[annotation]},
        "options": {value: " ".join(options) for value, options in VALUES.items()},
    }
