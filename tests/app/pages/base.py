"""What all page objects share: time limits, the parts of a page, and its typography."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

ORDINARY_MS = 60_000
"""Time limit of an ordinary action or expectation. It only ends a test that would never pass: speed is measured elsewhere."""
LONG_MS = 240_000
"""Time limit of work in another process: an import, an update, a training run."""

expect.set_options(timeout=ORDINARY_MS)

TYPOGRAPHY = str.maketrans({"\u2212": "-", "\u202f": " ", "\xa0": " "})


def plain(text: str) -> str:
    """``text`` with the minus sign and the spaces of a keyboard."""
    return text.translate(TYPOGRAPHY)


def number_of(text: str) -> float:
    """The first number in a text of the page."""
    found = re.search(r"[+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?", plain(text))
    assert found, f"no number in {text!r}"
    return float(found.group().replace(",", ""))


class Part:
    """A part of the page: its element, and what every part of the studio has."""

    def __init__(self, page: Page, root: Locator):
        self.page, self.root = page, root

    @property
    def alert(self) -> Locator:
        """The line that says what is wrong; there is one while something is."""
        return self.root.get_by_role("alert")

    def button(self, name: str, exact: bool = True) -> Locator:
        return self.root.get_by_role("button", name=name, exact=exact)

    def radio(self, name: str) -> Locator:
        return self.root.get_by_role("radio", name=name, exact=True)

    def field(self, label: str) -> Locator:
        return self.root.get_by_label(label, exact=True)

    def region(self, name: str | re.Pattern[str]) -> Locator:
        return self.root.get_by_role("region", name=name)

    def charts(self) -> Locator:
        """The charts that are drawn."""
        return self.root.locator(".js-plotly-plot")


def traces(chart: Locator) -> list[dict]:
    """What a chart draws: its traces, as plotly has them."""
    return chart.evaluate("node => node.data")


def point(chart: Locator, x: float, y: float) -> tuple[float, float]:
    """Where a point of a chart's axes lies on the screen, in pixels."""
    return tuple(
        chart.evaluate(
            """(node, [x, y]) => {
                const { left, top } = node.querySelector('.nsewdrag').getBoundingClientRect();
                const { xaxis, yaxis } = node._fullLayout;
                return [left + xaxis.l2p(x), top + yaxis.l2p(y)];
            }""",
            [x, y],
        )
    )


def click_point(page: Page, chart: Locator, x: float, y: float) -> None:
    """Click a point of a chart when the chart has found it under the pointer: its label then stands beside it."""
    chart.scroll_into_view_if_needed()
    left, top = point(chart, x, y)
    page.mouse.move(left - 9, top + 9)
    page.mouse.move(left, top)
    expect(chart.locator(".hoverlayer .hovertext").first).to_be_attached()
    page.mouse.click(left, top)


def all_cells(grid: Locator, title: str) -> list[str]:
    """A column of a table of which only the rows in sight are drawn: scrolls through it, and collects."""
    at = grid.get_by_role("columnheader").all_text_contents().index(title)
    return grid.evaluate(
        """async (node, at) => {
            const found = [];
            const total = Number(node.ariaRowCount) - 1;
            const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            for (let top = 0; found.filter((text) => text !== undefined).length < total && top <= node.scrollHeight; top += 200) {
                node.scrollTop = top;
                await drawn();
                for (const row of node.querySelectorAll('[data-row]')) found[row.dataset.row] = row.children[at].textContent;
            }
            node.scrollTop = 0;
            await drawn();
            return found;
        }""",
        at,
    )
