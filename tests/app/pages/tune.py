"""The Tune page: alpha and beta over the whole batch, and the setting as text."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.app.pages.base import Part

CHARTS = 3


class TunePage(Part):
    """The tab Tune."""

    def __init__(self, page: Page):
        super().__init__(page, page.locator("#af-tune"))

    def ready(self) -> None:
        """All charts are drawn."""
        expect(self.charts()).to_have_count(CHARTS)

    @property
    def text(self) -> Locator:
        """The setting as a command, as Python, or as options of another trainer."""
        return self.root.get_by_label("The setting as text")

    def replay(self) -> None:
        """Open the What-if panel."""
        self.button("Replay", exact=False).click()
