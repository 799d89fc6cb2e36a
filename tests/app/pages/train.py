"""The Train page: experiments, their charts and their runs."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.app.pages.base import LONG_MS, Part, traces

SUCCESS = 1
"""The chart of the success rate of every step, which is not thinned in a short run."""


class TrainPage(Part):
    """The tab Train."""

    def __init__(self, page: Page):
        super().__init__(page, page.locator("#af-train"))

    def ready(self) -> None:
        """The form says how long the experiment would take."""
        expect(self.form).to_contain_text("one after another: about")

    @property
    def form(self) -> Locator:
        return self.root.locator("form")

    # --- the experiment -------------------------------------------------------------------------

    @property
    def head(self) -> Locator:
        """The heading of the experiment that is shown, with its buttons."""
        return self.root.locator(".af-race-head")

    def press(self, name: str) -> None:
        """Press ``Pause``, ``Resume`` or ``Stop``."""
        self.head.get_by_role("button", name=name, exact=True).click()

    @property
    def comparison(self) -> Locator:
        """The differences between schemes, in words."""
        return self.root.locator(".af-race-claim")

    @property
    def runs(self) -> Locator:
        """The rows of the table of runs."""
        return self.root.get_by_role("table", name="Runs").locator("tbody").get_by_role("row")

    def state(self, run: int) -> Locator:
        return self.runs.nth(run).get_by_role("cell").nth(0)

    def steps(self, run: int) -> Locator:
        return self.runs.nth(run).get_by_role("cell").nth(1)

    def expect_states(self, *states: str) -> None:
        """Wait until the runs have these states."""
        expect(self.runs).to_have_count(len(states))
        for run, state in enumerate(states):
            expect(self.state(run)).to_contain_text(state, timeout=LONG_MS)

    # --- its charts -----------------------------------------------------------------------------

    @property
    def plots(self) -> Locator:
        return self.root.locator(".af-race-plot")

    def trace(self, name: str, plot: int = SUCCESS) -> dict:
        """What a chart draws of a run, such as ``Uniform, seed 0``."""
        return next(one for one in traces(self.plots.nth(plot)) if one.get("name") == name)

    def expect_drawn(self, name: str, step: int, plot: int = SUCCESS) -> int:
        """Wait until a chart draws a run up to this step, or further; returns the last step that it draws."""
        chart = self.plots.nth(plot)
        chart.scroll_into_view_if_needed()
        return self.page.wait_for_function(
            """([node, name, step]) => {
                const trace = (node.data || []).find((one) => one.name === name);
                return trace && trace.x.length && trace.x.at(-1) >= step && trace.x.at(-1);
            }""",
            arg=[chart.element_handle(), name, step],
            timeout=LONG_MS,
        ).json_value()

    # --- its evaluations --------------------------------------------------------------------------

    @property
    def cells(self) -> Locator:
        """The success rates of the evaluation prompts: a row a prompt, a column a step."""
        return self.root.locator(".af-cells .af-cell")

    @property
    def prompts(self) -> Locator:
        """The buttons that show one evaluation prompt over time."""
        return self.root.locator(".af-cells th").get_by_role("button")

    @property
    def scrubber(self) -> Locator:
        """One evaluation prompt over time."""
        return self.root.locator(".af-overtime")
