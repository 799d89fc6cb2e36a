"""The Trace page: the tokens of one trajectory."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.app.pages.base import Part, all_cells, number_of, plain


class TracePage(Part):
    """The tab Trace."""

    def __init__(self, page: Page):
        super().__init__(page, page.locator("#af-trace"))

    def ready(self) -> None:
        """The text of a trajectory is in sight."""
        expect(self.text).to_be_visible()
        expect(self.tokens.first).to_be_attached()

    # --- the text -----------------------------------------------------------------------------

    @property
    def text(self) -> Locator:
        return self.root.get_by_role("region", name="Trajectory text")

    @property
    def tokens(self) -> Locator:
        return self.text.locator(".t")

    def token(self, i: int) -> Locator:
        return self.text.locator(f'.t[data-i="{i}"]')

    def texts(self) -> list[str]:
        """The text of every token."""
        return self.tokens.all_text_contents()

    def pin(self, i: int) -> None:
        """Pin a token: its numbers are in the inspector then."""
        self.token(i).evaluate("node => node.click()")
        expect(self.inspector).to_contain_text(re.compile(rf"position\s*{i} of "))

    @property
    def inspector(self) -> Locator:
        return self.root.get_by_label("Pinned token")

    def pinned(self) -> int | None:
        """The position of the pinned token; None where no token is pinned."""
        found = re.search(r"position\s*(\d+) of ", self.inspector.inner_text())
        return int(found.group(1)) if found else None

    def colour_by(self, name: str) -> Locator:
        """The radio button of a colouring."""
        return self.root.get_by_role("radiogroup", name="Colour by").get_by_role("radio", name=name, exact=True)

    def expect_colour(self, name: str) -> None:
        """The tokens are coloured by ``name``."""
        expect(self.colour_by(name)).to_have_attribute("aria-checked", "true")

    @property
    def search_box(self) -> Locator:
        return self.root.get_by_label("Search in the text")

    # --- turns --------------------------------------------------------------------------------

    @property
    def turns(self) -> Locator:
        """The buttons of the turns, the end among them."""
        return self.root.get_by_label("Turns of the trajectory").get_by_role("listitem").get_by_role("button")

    @property
    def scrubber(self) -> Locator:
        return self.root.get_by_role("slider", name="Turn", exact=True)

    def expect_turn(self, k: int) -> None:
        """Turn ``k``, from 0, is the current one."""
        expect(self.turns.nth(k)).to_have_attribute("aria-current", "step")
        expect(self.scrubber).to_have_value(str(k))

    # --- messages -----------------------------------------------------------------------------

    def text_as(self, name: str) -> Locator:
        """The radio button of a form of the text: Messages or Rendered."""
        return self.root.get_by_role("radiogroup", name="Text as").get_by_role("radio", name=name, exact=True)

    def turn(self, k: int) -> Locator:
        """The card of turn ``k``, from 0."""
        return self.text.get_by_role("group", name=f"Turn {k + 1}", exact=True)

    def message(self, role: str) -> Locator:
        return self.text.get_by_role("article", name=role, exact=True)

    def block(self, title: str) -> Locator:
        """The blocks with this title, such as ``Call search``."""
        return self.text.get_by_role("group", name=title, exact=True)

    @property
    def turn_list(self) -> Locator:
        """Where a turn is chosen, of a trajectory without pictures."""
        return self.root.get_by_role("combobox", name="Turn", exact=True)

    @property
    def contexts(self) -> Locator:
        return self.root.get_by_role("tablist", name="Contexts of this rollout").get_by_role("tab")

    @property
    def facts(self) -> Locator:
        """What is known of the rollout as a whole."""
        return self.root.get_by_label("This rollout")

    def tool_rows(self) -> list[list[str]]:
        """The table of tools: name, calls, errors, success, credit."""
        cells = self.facts.get_by_role("table").locator("tbody th, tbody td").all_inner_texts()
        return [[plain(cell) for cell in cells[i : i + 5]] for i in range(0, len(cells), 5)]

    # --- trajectories -----------------------------------------------------------------------------

    @property
    def id_box(self) -> Locator:
        return self.root.get_by_label("Go to a trajectory by its id")

    def trajectory(self) -> str:
        """The id of the trajectory on the page."""
        return self.id_box.input_value()

    def expect_trajectory(self, id: str) -> None:
        expect(self.id_box).to_have_value(id)

    @property
    def rollouts(self) -> Locator:
        """The buttons of the rollouts of this group."""
        return self.root.get_by_role("navigation", name="Trajectories").get_by_role(
            "button", name=re.compile("^Rollout ")
        )

    # --- playing ------------------------------------------------------------------------------

    @property
    def play(self) -> Locator:
        """Where a person answers in place of the policy."""
        return self.root.get_by_role("region", name="Play", exact=True)

    @property
    def answer_box(self) -> Locator:
        return self.play.get_by_label("Your answer")

    @property
    def played(self) -> Locator:
        """The turns that a person has played."""
        return self.play.get_by_role("listitem")

    # --- numbers ------------------------------------------------------------------------------

    @property
    def gradient_share(self) -> Locator:
        """Sentences and bars of the gradient share by kind."""
        return self.root.get_by_role("region", name="Gradient share")

    @property
    def table(self) -> Locator:
        """The table of the tokens."""
        return self.root.get_by_role("grid", name="Tokens", exact=True)

    @property
    def chart(self) -> Locator:
        """Weight and signal by position, as it is drawn."""
        return self.region("Weight and signal by position").locator(".js-plotly-plot")

    def open_table(self) -> None:
        self.button("Token table (T)").click()
        expect(self.table.locator("[data-row]").first).to_be_visible()

    def cells(self, name: str) -> list[str]:
        """A column of the table over all tokens, as text."""
        return all_cells(self.table, name)

    def column(self, name: str) -> list[float]:
        """A column of the table over all tokens; NaN where it has no number. The table must be open."""
        return [number_of(cell) if re.search(r"\d", cell) else float("nan") for cell in map(plain, self.cells(name))]
