"""The run picker of the top bar."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.app.pages.base import Part


class RunPicker(Part):
    """The field of the top bar and the list below it."""

    def __init__(self, page: Page):
        super().__init__(page, page.locator(".af-finder"))

    @property
    def field(self) -> Locator:
        """The name of the open run, and what is searched while the list is open."""
        return self.page.get_by_role("combobox", name="Run", exact=True)

    @property
    def grid(self) -> Locator:
        return self.root.get_by_role("grid", name="Runs")

    @property
    def rows(self) -> Locator:
        return self.grid.get_by_role("row")

    @property
    def chosen(self) -> Locator:
        """The row that Enter opens."""
        return self.grid.get_by_role("row", selected=True)

    @property
    def told(self) -> Locator:
        """What was done last."""
        return self.root.get_by_role("status")

    @property
    def deleted(self) -> Locator:
        """The list of the deleted runs."""
        return self.root.get_by_role("region", name="Deleted runs")

    def open(self) -> RunPicker:
        """Open the list, and wait for its rows."""
        self.field.click()
        expect(self.rows.first).to_be_visible()
        return self

    def search(self, text: str, rows: int) -> None:
        """Type into the field, and wait until this many runs are listed."""
        self.field.fill(text)
        expect(self.rows).to_have_count(rows)

    def row(self, name: str) -> Locator:
        """The row of a run."""
        return self.rows.filter(has=self.page.locator(".af-finder-name", has_text=re.compile(f"^{re.escape(name)}$")))

    def names(self) -> list[str]:
        """The runs that are listed, from top to bottom."""
        return self.grid.locator(".af-finder-name").all_text_contents()

    def choose(self, name: str) -> None:
        """Open a run by a click."""
        self.open()
        self.field.fill(name)
        self.row(name).get_by_role("gridcell").first.click()

    def delete(self, name: str) -> None:
        row = self.row(name)
        row.hover()
        row.get_by_role("button", name=f"Delete {name} (Delete)", exact=True).click()

    def rename(self, name: str, new: str) -> None:
        row = self.row(name)
        row.hover()
        row.get_by_role("button", name=f"Rename {name} (F2)", exact=True).click()
        field = self.root.get_by_label(f"New name of {name}", exact=True)
        field.fill(new)
        field.press("Enter")
