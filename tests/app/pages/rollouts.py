"""The Rollouts page: the list of all rollouts, its filters, and the highest tokens."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.app.pages.base import Part


class RolloutsPage(Part):
    """The tab Rollouts."""

    def __init__(self, page: Page):
        super().__init__(page, page.locator("#af-list"))

    def ready(self) -> None:
        """The first rows are there."""
        expect(self.table).to_have_attribute("aria-busy", "false")
        expect(self.rows.first).to_be_visible()

    @property
    def table(self) -> Locator:
        return self.root.get_by_role("grid", name="Rollouts", exact=True)

    @property
    def rows(self) -> Locator:
        """The rows that are drawn."""
        return self.table.locator("[data-row]")

    @property
    def summary(self) -> Locator:
        """How many rollouts are listed."""
        return self.root.locator(".af-list-summary")

    def expect_total(self, count: int) -> None:
        """The list has this many rows, drawn or not; its head is one more."""
        expect(self.table).to_have_attribute("aria-rowcount", str(count + 1))
        expect(self.table).to_have_attribute("aria-busy", "false")

    # --- columns ----------------------------------------------------------------------------------

    @property
    def heads(self) -> Locator:
        return self.table.get_by_role("columnheader")

    def head(self, title: str) -> Locator:
        return self.table.get_by_role("columnheader", name=title, exact=True)

    def sort_by(self, title: str) -> None:
        self.head(title).get_by_role("button").click()

    def column(self, title: str) -> list[str]:
        """The values of a column in the rows that are drawn, from the first row on."""
        at = self.heads.all_text_contents().index(title)
        return self.table.evaluate(
            """(node, at) => [...node.querySelectorAll('[data-row]')]
                .sort((a, b) => a.dataset.row - b.dataset.row).map((row) => row.children[at].textContent)""",
            at,
        )

    def choose_columns(self, **titles: bool) -> None:
        """Set check boxes of the columns by their titles (a space is written ``_``)."""
        self.root.locator("summary", has_text="Columns").click()
        for title, on in titles.items():
            self.root.get_by_label(title.replace("_", " "), exact=True).set_checked(on)
        self.page.keyboard.press("Escape")

    # --- filters ----------------------------------------------------------------------------------

    def chip(self, name: str) -> Locator:
        """A condition; its button also says how many rollouts meet it."""
        return self.root.get_by_role("group", name="Filters").locator(".af-chip", has_text=name)

    @property
    def search(self) -> Locator:
        return self.root.get_by_label("Search in the texts")

    @property
    def where(self) -> Locator:
        return self.root.get_by_label("Where: an expression")

    @property
    def found(self) -> Locator:
        """What the search found."""
        return self.root.get_by_role("search").get_by_role("status")

    # --- tokens -----------------------------------------------------------------------------------

    @property
    def tokens(self) -> Locator:
        return self.root.get_by_role("grid", name="Tokens", exact=True)

    def show_tokens(self) -> None:
        self.root.get_by_role("radio", name="Tokens", exact=True).click()
        expect(self.tokens.locator("[data-row]").first).to_be_visible()
