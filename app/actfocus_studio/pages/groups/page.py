"""Groups: does the spread of returns increase with the energy of the actions, and which rollout is unusual?"""

from __future__ import annotations

from actfocus_core.credit import HOW_TO_GET, SCHEMES
from actfocus_studio.pages.groups.figures import figures
from actfocus_studio.shell.components import ClientHTML
from actfocus_studio.shell.studio import Studio

NAME, TITLE = "groups", "Groups"


def build(studio: Studio) -> None:
    """Build the page."""
    ClientHTML("pages/groups/page.js", elem_id="af-groups", figures=figures(), menu=menu())


def menu() -> dict:
    """The schemes by which the text of a group is coloured, and how a signal that one lacks is obtained."""
    return {"schemes": {name: scheme.title for name, scheme in SCHEMES.items()}, "how": HOW_TO_GET}
