"""The Tune page: alpha and beta over the whole batch, and the setting as text."""

from __future__ import annotations

import math

from playwright.sync_api import Locator, Page, TimeoutError, expect

from tests.app.pages.base import ORDINARY_MS, Part, point, traces

CHARTS = 3
SHARE, SPREAD, CURVE = range(CHARTS)
"""The charts: share of weight on actions, effective tokens, distribution of the signal."""
EXPECT_MAP = """([node, values]) => {
    const { x, y, z } = node.data[0];
    return values.every(([alpha, beta, value]) => {
        const shown = z[y.indexOf(beta)][x.indexOf(alpha)];
        return value === null ? shown === null : shown !== null && Math.abs(shown - value) < 1e-6;
    });
}"""


class TunePage(Part):
    """The tab Tune."""

    def __init__(self, page: Page):
        super().__init__(page, page.locator("#af-tune"))

    def ready(self) -> None:
        """All charts are drawn."""
        expect(self.charts()).to_have_count(CHARTS)

    @property
    def lead(self) -> Locator:
        """What the setting does, in words."""
        return self.root.locator(".af-lead")

    def expect_map(self, chart: int, values: dict[tuple[float, float], float]) -> None:
        """Wait until a map shows these values at (alpha, beta); NaN: no value."""
        node = self.charts().nth(chart)
        wanted = [[a, b, None if math.isnan(value) else value] for (a, b), value in values.items()]
        try:
            self.page.wait_for_function(EXPECT_MAP, arg=[node.element_handle(), wanted], timeout=ORDINARY_MS)
        except TimeoutError:
            field = traces(node)[0]
            shown = {(a, b): field["z"][field["y"].index(b)][field["x"].index(a)] for a, b in values}
            raise AssertionError(f"the map shows {shown}, not {values}") from None

    def click_map(self, alpha: float, beta: float, chart: int = SHARE) -> None:
        """Click a point of a map once its label names that point: charts look up the pointer with a delay."""
        node = self.charts().nth(chart)
        node.scroll_into_view_if_needed()
        left, top = point(node, alpha, beta)
        self.page.mouse.move(left - 9, top + 9)
        self.page.mouse.move(left, top)
        expect(node.locator(".hoverlayer")).to_contain_text(f"α {alpha:.2f}, β {beta:.2f}")
        self.page.mouse.click(left, top)

    def curve(self, name: str) -> dict:
        """The curve of the third chart whose name begins so."""
        return next(t for t in traces(self.charts().nth(CURVE)) if t["name"].startswith(name))

    def expect_curve(self, name: str, value: float) -> None:
        """Wait until a curve of the third chart is ``value`` everywhere."""
        self.page.wait_for_function(
            """([node, name, value]) => {
                const curve = node.data.find((trace) => trace.name.startsWith(name));
                return curve && curve.y.every((y) => y === value);
            }""",
            arg=[self.charts().nth(CURVE).element_handle(), name, value],
        )

    def cell(self, alpha: float, beta: float) -> Locator:
        """A cell of the maps as a table."""
        return self.root.get_by_role("button", name=f"alpha {alpha}, beta {beta}:")

    @property
    def text(self) -> Locator:
        """The setting as a command, as Python, or as options of another trainer."""
        return self.root.get_by_label("Exported setting")

    def replay(self) -> None:
        """Open the What-if panel."""
        self.button("Replay", exact=False).click()
