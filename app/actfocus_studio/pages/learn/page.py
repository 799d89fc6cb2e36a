"""Learn: short lessons that set up the other tabs, ask for a prediction, and reveal the values of the open run."""

from __future__ import annotations

from actfocus_core.errors import ActFocusError
from actfocus_studio.data.serialize import dump
from actfocus_studio.data.view import View
from actfocus_studio.jobs.whatif.answers import Answers
from actfocus_studio.pages.learn.facts import Loaded
from actfocus_studio.pages.learn.judge import judge
from actfocus_studio.pages.learn.lessons import Lesson, load_lessons
from actfocus_studio.shell.components import Ask, PageView
from actfocus_studio.shell.requests import PRIVATE, answer
from actfocus_studio.shell.studio import Studio

NAME, TITLE = "learn", "Learn"


def build(studio: Studio) -> None:
    """Add the page. Its script builds it; requests and answers are small JSON strings.

    Raises ActFocusError for the first error in a file of lessons.
    """
    answers = Answers(studio.whatif)
    lessons = load_lessons(studio.lessons)
    PageView("learn", menu=dump([lesson.summary() for lesson in lessons.values()]))
    channel = Ask("learn")
    channel.ask(
        lambda text: answer(text, lambda request: handle(studio, lessons, answers, request)),
        [channel],
        [channel],
        trigger_mode="multiple",
        **PRIVATE,
    )


def handle(studio: Studio, lessons: dict[str, Lesson], answers: Answers, request: dict) -> dict:
    """Check the answer to a lesson's question. Raises ActFocusError where there is no such question."""
    view = View.parse(request)
    lesson = lessons.get(view.lesson)
    if lesson is None:
        raise ActFocusError(f"there is no lesson \u201c{view.lesson}\u201d here; choose one from the list")
    question = lesson.steps[view.lesson_step].question if view.lesson_step < len(lesson.steps) else None
    if question is None:
        raise ActFocusError("this step of the lesson has no question; reload the page")
    run = studio.catalog.open(view.run)
    reference = view.reference if view.step is not None and view.reference in run.references(view.step) else None

    def batch():
        if view.step not in run.steps():
            raise ActFocusError("no training step of this run is open")
        return studio.scored.get(run, view.step, reference).batch

    return {
        "reveal": judge(
            question,
            request.get("answer"),
            Loaded(run, view, batch, studio.experiments, lambda: answers.load(run, view.whatif)[0]),
        )
    }
