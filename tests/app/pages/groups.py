"""The Groups page: the spread of returns against the signals, and the rollouts of a group."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.app.pages.base import Part

CHARTS = 5


class GroupsPage(Part):
    """The tab Groups."""

    def __init__(self, page: Page):
        super().__init__(page, page.locator("#af-groups"))

    def ready(self) -> None:
        """All charts are drawn and the table is filled."""
        expect(self.charts()).to_have_count(CHARTS)
        expect(self.rows.first).to_be_visible()

    @property
    def scatters(self) -> Locator:
        """The charts of all, of the reasoning and of the action tokens, with their texts."""
        return self.region(re.compile(" tokens$"))

    @property
    def confound(self) -> Locator:
        return self.region(re.compile("^Confounder"))

    @property
    def returns(self) -> Locator:
        return self.region("Returns of the rollouts")

    @property
    def table(self) -> Locator:
        return self.root.get_by_role("table", name="Groups", exact=True)

    @property
    def rows(self) -> Locator:
        return self.table.locator("tbody").get_by_role("row")

    def labels(self) -> list[str]:
        """The groups in the table, from top to bottom."""
        return self.rows.get_by_role("button").all_text_contents()

    def show_all(self) -> None:
        self.button("show all").click()

    # --- one group ------------------------------------------------------------------------------

    @property
    def ribbons(self) -> Locator:
        """The rollouts of the group that is open, a button each."""
        return self.root.locator(".af-ribbon").filter(visible=True)

    def colour_by(self, name: str) -> Locator:
        return self.root.get_by_role("radiogroup", name="Colour of the ribbons").get_by_role("radio", name=name)
