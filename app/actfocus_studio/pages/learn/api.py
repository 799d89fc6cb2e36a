"""The Learn page's route: the answer to a question is checked against the values of the open run."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from actfocus_core.errors import ActFocusError
from actfocus_studio.data.view import View, ViewRequest
from actfocus_studio.jobs.whatif.answers import Answers
from actfocus_studio.pages.learn.facts import Loaded
from actfocus_studio.pages.learn.judge import Verdict, judge
from actfocus_studio.pages.learn.lessons import Lesson, Question, load_lessons
from actfocus_studio.server.api import API
from actfocus_studio.shell.studio import Studio


class RevealRequest(ViewRequest):
    """The answer to the question of the view's lesson and step: a number, or the index of a choice."""

    answer: float = Field(strict=True)


def api(studio: Studio) -> APIRouter:
    """The routes of the page. Raises ActFocusError for the first error in a file of lessons."""
    router = APIRouter(prefix=f"{API}/learn")
    answers, lessons = Answers(studio.whatif), load_lessons(studio.lessons)

    @router.post("/reveal")
    def reveal(request: RevealRequest) -> Verdict:
        question = asked(lessons, request.view)
        return judge(question, request.answer, loaded(studio, answers, request.view))

    return router


def asked(lessons: dict[str, Lesson], view: View) -> Question:
    """The question of the view's lesson and step. Raises ActFocusError where there is none."""
    lesson = lessons.get(view.lesson)
    if lesson is None:
        raise ActFocusError(f"there is no lesson \u201c{view.lesson}\u201d here; choose one from the list")
    question = lesson.steps[view.lesson_step].question if view.lesson_step < len(lesson.steps) else None
    if question is None:
        raise ActFocusError("this step of the lesson has no question; reload the page")
    return question


def loaded(studio: Studio, answers: Answers, view: View) -> Loaded:
    """What the page has open; nothing of it is read yet."""
    run = studio.catalog.open(view.run)
    reference = view.reference if view.step is not None and view.reference in run.references(view.step) else None

    def batch():
        if view.step not in run.steps():
            raise ActFocusError("no training step of this run is open")
        return studio.scored.get(run, view.step, reference).batch

    return Loaded(run, view, batch, studio.experiments, lambda: answers.load(run, view.whatif)[0])
