"""Trace: step through one trajectory; every token with its kind, weight and signals."""

from __future__ import annotations

from actfocus_studio.pages.trace import figures
from actfocus_studio.shell.components import ClientHTML
from actfocus_studio.shell.studio import Studio

NAME, TITLE = "trace", "Trace"


def build(studio: Studio) -> None:
    """Build the page."""
    ClientHTML("pages/trace/page.js", elem_id="af-trace", figure=figures.token_line())
