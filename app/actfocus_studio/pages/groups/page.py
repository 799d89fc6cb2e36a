"""Groups: does the spread of returns increase with the energy of the actions, and which rollout is unusual?"""

from __future__ import annotations

from actfocus_studio.pages.groups.figures import figures
from actfocus_studio.shell.components import ClientHTML
from actfocus_studio.shell.studio import Studio

NAME, TITLE = "groups", "Groups"


def build(studio: Studio) -> None:
    """Build the page."""
    ClientHTML("pages/groups/page.js", elem_id="af-groups", figures=figures())
