"""Rollouts: all rollouts of a run in one table that is filtered, searched and sorted, and the tokens with extreme values."""

from __future__ import annotations

from actfocus_core.credit import SCHEMES
from actfocus_studio.data.view import KEPT, ONLY
from actfocus_studio.shell.components import ClientHTML
from actfocus_studio.shell.studio import Studio

NAME, TITLE = "rollouts", "Rollouts"


def build(studio: Studio) -> None:
    """Build the page."""
    ClientHTML(
        "pages/rollouts/page.js",
        elem_id="af-list",
        schemes=[*((name, scheme.title) for name, scheme in SCHEMES.items()), (KEPT, "setting B of the sidebar")],
        only=list(ONLY),
        canCompute=not studio.read_only,
    )
