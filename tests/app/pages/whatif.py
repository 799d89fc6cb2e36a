"""The What-if panel: replay an update, branch a turn, edit a text, walk through one update."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.app.pages.base import LONG_MS, Part


class WhatIfPanel(Part):
    """The panel over a page."""

    def __init__(self, page: Page):
        super().__init__(page, page.get_by_role("dialog", name="What if"))

    def ready(self) -> None:
        """The form is there: the run has been looked at."""
        expect(self.root).to_be_visible()
        expect(self.root.get_by_text("Loading …")).to_have_count(0)

    def choose(self, kind: str) -> None:
        """Choose what is asked: ``Replay``, ``Branch``, ``Edit``, ``Walkthrough``."""
        self.radio(kind).click()

    def start(self, name: str) -> None:
        """Press the form's button: ``Replay``, ``Branch`` or ``Edit and score``."""
        self.button(name).click()

    def expect_answer(self) -> None:
        """Wait for the whole answer: the panel then says how long it took."""
        expect(self.job).to_have_text(re.compile(r"(Answered in|all after) [\d.]+ s"), timeout=LONG_MS)

    def expect_first_answer(self) -> None:
        """Wait until a part of the answer is on the page."""
        expect(self.answer.locator(".af-sentence")).to_be_visible(timeout=LONG_MS)

    @property
    def job(self) -> Locator:
        """The line under the form: progress, then the time it took."""
        return self.root.locator(".af-whatif-work")

    @property
    def answer(self) -> Locator:
        return self.root.get_by_role("main")

    @property
    def sentence(self) -> Locator:
        """What the answer says in words."""
        return self.answer.locator(".af-sentence")

    @property
    def stored(self) -> Locator:
        """The buttons of the answers that are kept with the run."""
        return self.root.locator(".af-asked").get_by_role("button")

    @property
    def updates(self) -> Locator:
        """The rows of the table of updates, one a scheme."""
        return self.answer.get_by_role("table", name=re.compile("^Updates")).locator("tbody").get_by_role("row")

    @property
    def panes(self) -> Locator:
        """The texts side by side."""
        return self.answer.locator(".af-pane")

    def tokens(self, pane: int) -> Locator:
        return self.panes.nth(pane).locator(".t")

    def token(self, pane: int, i: int) -> Locator:
        return self.panes.nth(pane).locator(f'.t[data-i="{i}"]')

    @property
    def readout(self) -> Locator:
        """The numbers of the token under the pointer."""
        return self.answer.locator(".af-sticky .af-readout")

    def pane_text(self, pane: int) -> str:
        """The text of a pane, token by token."""
        return "".join(self.tokens(pane).all_text_contents())

    @property
    def branches(self) -> Locator:
        """The rows of the tree of outcomes."""
        return self.region("Tree of outcomes").locator(".af-branch")

    # --- one update, step by step ----------------------------------------------------------------

    @property
    def stages(self) -> Locator:
        """The buttons of the steps."""
        return self.answer.locator(".af-stages").get_by_role("button")

    def expect_stage(self, n: int) -> None:
        """Step ``n``, from 0, is the current one."""
        expect(self.stages.nth(n)).to_have_attribute("aria-current", "step", timeout=LONG_MS)

    @property
    def chain(self) -> Locator:
        """The arithmetic of one token up to this step."""
        return self.answer.locator(".af-chain")
