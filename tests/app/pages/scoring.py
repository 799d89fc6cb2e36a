"""The dialog that scores a run with a reference model, and the line about its job."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.app.pages.base import Part


class ScoringDialog(Part):
    def __init__(self, page: Page):
        super().__init__(page, page.get_by_role("dialog", name="Score with a reference model"))

    @property
    def reference(self) -> Locator:
        """The select of the reference model."""
        return self.root.get_by_role("combobox")

    def start(self, button: str, reference: str = "tiny") -> None:
        """Score with a reference, by the button with this text."""
        expect(self.root).to_be_visible()
        self.reference.select_option(reference)
        self.button(button).click()
        expect(self.root).to_be_hidden()
