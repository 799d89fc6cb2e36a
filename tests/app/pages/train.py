"""The Train page: experiments, their charts and their runs."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.app.pages.base import Part


class TrainPage(Part):
    """The tab Train."""

    def __init__(self, page: Page):
        super().__init__(page, page.locator("#af-train"))

    def ready(self) -> None:
        """The form says how long the experiment would take."""
        expect(self.form).to_contain_text("one after another: about")

    @property
    def form(self) -> Locator:
        return self.root.locator("form")

    @property
    def head(self) -> Locator:
        """The heading of the experiment that is shown, with its buttons."""
        return self.root.locator(".af-race-head")

    @property
    def plots(self) -> Locator:
        return self.root.locator(".af-race-plot")
