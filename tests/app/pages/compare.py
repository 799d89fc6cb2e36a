"""The Compare page: two credit schemes on the same tokens, and tables of all of them."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.app.pages.base import LONG_MS, Part


class ComparePage(Part):
    """The tab Compare."""

    def __init__(self, page: Page):
        super().__init__(page, page.locator("#af-compare"))

    def ready(self) -> None:
        """Both panes are there and no table is being computed."""
        expect(self.panes.first).to_be_visible(timeout=LONG_MS)
        self.settled()

    def settled(self) -> None:
        """No table is being computed."""
        expect(self.root.get_by_text("Computing …")).to_have_count(0, timeout=LONG_MS)
        expect(self.root.get_by_text("Looking for the truth …")).to_have_count(0, timeout=LONG_MS)
        expect(self.root.locator("[aria-busy=true]")).to_have_count(0, timeout=LONG_MS)

    def scheme(self, side: str) -> Locator:
        """The select of pane ``A`` or ``B``."""
        return self.root.get_by_label(f"Scheme of pane {side}")

    @property
    def panes(self) -> Locator:
        return self.root.locator(".af-pane")

    def tokens(self, pane: int) -> Locator:
        return self.panes.nth(pane).locator(".t")

    @property
    def readout(self) -> Locator:
        """The numbers of the token under the pointer."""
        return self.root.locator(".af-readout")
