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

    def start(self, title: str) -> None:
        self.root.get_by_role("button", name=f"Start the lesson: {title}").click()

    @property
    def lesson(self) -> Locator:
        """The panel of the lesson that is running."""
        return self.page.locator("#af-lesson")

    def expect_lesson(self, title: str | re.Pattern[str]) -> None:
        expect(self.lesson.get_by_role("heading", name=title)).to_be_visible()

    def step(self, name: str) -> None:
        """Press ``Next`` or ``Back``."""
        self.lesson.get_by_role("button", name=name, exact=True).click()
