"""Learn: short lessons that set up the other tabs, ask for a prediction, and reveal the values of the open run."""

from __future__ import annotations

from actfocus_studio.pages.learn.lessons import load_lessons
from actfocus_studio.shell.components import ClientHTML
from actfocus_studio.shell.studio import Studio

NAME, TITLE = "learn", "Learn"


def build(studio: Studio) -> None:
    """Add the page. Raises ActFocusError for the first error in a file of lessons."""
    lessons = load_lessons(studio.lessons)
    ClientHTML("pages/learn/page.js", elem_id="af-learn", lessons=[lesson.summary() for lesson in lessons.values()])


def build_panel() -> None:
    """Add the panel of a lesson, which stays in sight on every tab."""
    ClientHTML("pages/learn/page.js", "mountPanel", elem_id="af-lesson-host")
