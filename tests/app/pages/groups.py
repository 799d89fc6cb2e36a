"""The Groups page: the spread of returns against the signals, and the rollouts of a group."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.app.pages.base import Part, all_cells

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
        return self.root.get_by_role("grid", name="Groups", exact=True)

    @property
    def rows(self) -> Locator:
        """The rows that are drawn."""
        return self.table.locator("[data-row]")

    def labels(self) -> list[str]:
        """The groups in the table, from top to bottom."""
        return self.cells("group")

    def cells(self, title: str) -> list[str]:
        """A column of the table, drawn or not."""
        return all_cells(self.table, title)

    def expect_total(self, count: int) -> None:
        """The table has this many rows, drawn or not; its head is one more."""
        expect(self.table).to_have_attribute("aria-rowcount", str(count + 1))

    def show_all(self) -> None:
        self.button("show all").click()

    # --- one group ------------------------------------------------------------------------------

    @property
    def ribbons(self) -> Locator:
        """The rollouts of the group that is open, a button each."""
        return self.root.locator(".af-ribbon").filter(visible=True)

    def colour_by(self, name: str) -> Locator:
        return self.root.get_by_role("radiogroup", name="Colour of the ribbons").get_by_role("radio", name=name)

    def view(self, name: str) -> Locator:
        """``Ribbons`` or ``Side by side``."""
        return self.root.get_by_role("radiogroup", name="View of the rollouts").get_by_role("radio", name=name)

    @property
    def columns(self) -> Locator:
        """The rollouts side by side."""
        return self.root.get_by_role("group", name="Rollouts of the group", exact=True).locator("section.af-pane")

    def text_of(self, rollout: int) -> Locator:
        """The tokens of a column, in their scroller."""
        return self.root.get_by_role("region", name=f"Rollout {rollout}", exact=True)

    @property
    def shared(self) -> Locator:
        """What all columns begin with."""
        return self.root.locator(".af-shared")

    def chip(self, rollout: int) -> Locator:
        """The button that adds or removes a column."""
        group = self.root.get_by_role("group", name="Rollouts side by side")
        return group.get_by_role("button", name=re.compile(f"^Rollout {rollout},"))

    @property
    def readout(self) -> Locator:
        """The credit of the token under the pointer, in every column."""
        return self.root.locator(".af-group-text .af-readout")
