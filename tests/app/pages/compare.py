"""The Compare page: two credit schemes on the same tokens, and tables of all of them."""

from __future__ import annotations

import re

import numpy as np
from playwright.sync_api import Locator, Page, TimeoutError, expect

from tests.app.pages.base import LONG_MS, ORDINARY_MS, Part, number_of, plain

ROUNDING = 0.00051
"""The page shows three decimals."""
READ_COLUMN = """([root, name]) => [...root.querySelectorAll('.af-token-rows')].flatMap((table) => {
    const k = [...table.querySelectorAll('thead th')].findIndex((head) => head.textContent === name);
    return k < 0 ? [] : [...table.querySelectorAll('tbody tr')].map((row) => row.children[k].textContent);
})"""
EXPECT_COLUMN = f"""([root, name, values, atol]) => {{
    const cells = ({READ_COLUMN})([root, name]).map((text) => parseFloat(text.replace('\u2212', '-')));
    return cells.length === values.length
        && cells.every((x, i) => values[i] === null ? Number.isNaN(x) : Math.abs(x - values[i]) <= atol);
}}"""


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
        expect(self.root.locator("[aria-busy=true]")).to_have_count(0, timeout=LONG_MS)

    def scheme(self, side: str) -> Locator:
        """The select of pane ``A`` or ``B``."""
        return self.root.get_by_label(f"Scheme of pane {side}")

    # --- the panes ------------------------------------------------------------------------------

    @property
    def panes(self) -> Locator:
        return self.root.locator(".af-pane")

    def head(self, pane: int) -> Locator:
        """The scheme, trajectory and outcome of a pane."""
        return self.panes.nth(pane).locator(".af-pane-head")

    def tokens(self, pane: int) -> Locator:
        return self.panes.nth(pane).locator(".t")

    def expect_marked(self, pane: int, i: int) -> None:
        """Token ``i`` alone is marked in a pane."""
        marked = self.panes.nth(pane).locator(".t.hot")
        expect(marked).to_have_count(1)
        expect(marked).to_have_attribute("data-i", str(i))

    def marked(self, pane: int) -> int:
        """The position of the marked token."""
        return int(self.panes.nth(pane).locator(".t.hot").get_attribute("data-i"))

    @property
    def readout(self) -> Locator:
        """The numbers of the token under the pointer."""
        return self.root.locator(".af-readout")

    @property
    def legend(self) -> Locator:
        return self.root.locator(".af-legend")

    # --- the tokens as a table ------------------------------------------------------------------

    def show_table(self, on: bool = True) -> None:
        """Show the tokens as a table instead of coloured text."""
        toggle = self.button("Show tokens as a table")
        if toggle.get_attribute("aria-pressed") != str(on).lower():
            toggle.click()
        expect(toggle).to_have_attribute("aria-pressed", str(on).lower())

    def credit(self, column: str) -> np.ndarray:
        """A column of the table, such as ``credit A``; NaN where it has no number."""
        cells = self.page.evaluate(READ_COLUMN, [self.root.element_handle(), column])
        return np.array([number_of(cell) if re.search(r"\d", cell) else np.nan for cell in map(plain, cells)])

    def expect_credit(self, column: str, values: np.ndarray) -> None:
        """Wait until a column of the table shows these values."""
        wanted = [None if np.isnan(x) else float(x) for x in values]
        atol = ROUNDING + 1e-4 * float(np.nanmax(np.abs(values)))
        try:
            arguments = [self.root.element_handle(), column, wanted, atol]
            self.page.wait_for_function(EXPECT_COLUMN, arg=arguments, timeout=ORDINARY_MS)
        except TimeoutError:
            np.testing.assert_allclose(self.credit(column), values, rtol=0, atol=atol)
            raise

    # --- the tables of schemes ----------------------------------------------------------------------

    @property
    def rows(self) -> Locator:
        """The rows of the table of schemes."""
        return self.root.locator(".af-schemes tbody").get_by_role("row")

    def row(self, scheme: str) -> Locator:
        """The row of a scheme, or of a null control such as ``shuffle:actfocus``."""
        return self.root.locator(f".af-schemes tr[data-scheme='{scheme}']")

    @property
    def correlations(self) -> Locator:
        """The cells of the matrix of rank correlations."""
        return self.root.locator(".af-spearman").get_by_role("cell")

    @property
    def scoreboards(self) -> Locator:
        """The scoreboards, one per ground truth."""
        return self.root.locator(".af-scores")

    @property
    def missing_truth(self) -> Locator:
        """The note on ground truths that are missing, with its buttons."""
        return self.root.locator(".af-lacking-truth")

    @property
    def job(self) -> Locator:
        """The progress of computing signals."""
        return self.root.get_by_role("status")
