"""The Learn page: the list of lessons, and the panel of the lesson that is running."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.app.pages.base import Part


class LearnPage(Part):
    """The tab Learn."""

    def __init__(self, page: Page):
        super().__init__(page, page.locator("#af-learn"))

    def ready(self) -> None:
        """The list of lessons is in sight."""
        expect(self.starts.first).to_be_visible()

    @property
    def starts(self) -> Locator:
        """The buttons that start the lessons."""
        return self.root.get_by_role("button", name="Start the lesson:")

    def starter(self, title: str) -> Locator:
        """The button that starts a lesson."""
        return self.root.get_by_role("button", name=f"Start the lesson: {title}", exact=True)

    def start(self, title: str) -> None:
        self.starter(title).click()

    @property
    def lesson(self) -> Locator:
        """The panel of the lesson that is running."""
        return self.page.locator("#af-lesson")

    @property
    def heading(self) -> Locator:
        """The title of the lesson, which has the focus at every new step."""
        return self.lesson.get_by_role("heading")

    def expect_lesson(self, title: str | re.Pattern[str]) -> None:
        expect(self.lesson.get_by_role("heading", name=title)).to_be_visible()

    def expect_step(self, n: int, steps: int) -> None:
        """Step ``n`` of ``steps``, from 1, is the current one."""
        expect(self.lesson).to_contain_text(f"step {n} of {steps}")

    def step(self, name: str) -> None:
        """Press ``Next``, ``Back`` or ``Finish``."""
        self.lesson.get_by_role("button", name=name, exact=True).click()

    @property
    def reveal(self) -> Locator:
        """Whether the answer was correct, and the text that follows."""
        return self.lesson.locator(".af-lesson-reveal")

    @property
    def correct(self) -> Locator:
        """The correct choice, once it is revealed."""
        return self.lesson.locator(".af-check.right")

    def tab_to(self, target: Locator) -> None:
        """Press Tab until an element has the focus."""
        for _ in range(12):
            self.page.keyboard.press("Tab")
            if target.evaluate("node => node === document.activeElement"):
                return
        raise AssertionError(f"{target} is not reached by Tab")
