"""Tune: the effect of alpha and beta on the loaded batch, and export of the setting."""

from __future__ import annotations

from actfocus_core.interop.recipes import EXPORTS
from actfocus_studio.pages.tune import figures
from actfocus_studio.pages.tune.distribution import QUANTILES
from actfocus_studio.shell.components import ClientHTML
from actfocus_studio.shell.studio import Studio

NAME, TITLE = "tune", "Tune"


def build(studio: Studio) -> None:
    """Build the page."""
    ClientHTML(
        "pages/tune/page.js",
        elem_id="af-tune",
        figures={"maps": figures.maps(), "curve": figures.curve()},
        quantiles=QUANTILES,
        exports=[[name, recipe.title] for name, recipe in EXPORTS.items()],
    )
