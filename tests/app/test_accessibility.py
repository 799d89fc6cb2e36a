"""Contrast, names and roles of every tab in both themes, by axe-core (vendored in axe-playwright-python)."""

from importlib.resources import files

import pytest

pytestmark = pytest.mark.browser

TABS = ("trace", "compare", "groups", "tune", "train", "learn")
READY = "window.ActFocus && ActFocus.trace && ActFocus.trace.state.painted"
RUN = """async () => (await axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa'], resultTypes: ['violations'],
})).violations.map(v => ({id: v.id, impact: v.impact, count: v.nodes.length,
    nodes: v.nodes.slice(0, 4).map(n => n.target.join(' ') + ': ' + (n.any[0] || n.all[0] || n.none[0] || {}).message)}))"""


@pytest.fixture(scope="module")
def axe() -> str:
    package = pytest.importorskip("axe_playwright_python", reason="axe-core comes with pip install 'actfocus[test]'")
    return (files(package) / "axe.min.js").read_text(encoding="utf-8")


def violations(page, axe) -> list[dict]:
    if page.evaluate("typeof window.axe") == "undefined":
        page.evaluate(axe)
    return page.evaluate(RUN)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_tab(page, studio, axe, theme):
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.goto(f"{studio}/?run=plain&token=60")
    page.wait_for_function(READY)
    page.evaluate(f"document.body.classList.toggle('dark', {'true' if theme == 'dark' else 'false'})")
    found = {}
    for tab in TABS:
        page.evaluate(f"ActFocus.frame.tab({tab.capitalize()!r})")
        page.wait_for_timeout(1500)
        found[tab] = violations(page, axe)
    page.evaluate("ActFocus.learn.state.list.querySelector('button').click()")
    page.wait_for_function("ActFocus.learn.state.lesson")
    found["lesson"] = violations(page, axe)
    page.locator("#af-lesson").get_by_role("button", name="Leave the lesson").click()
    page.locator("#af-drawer-button").click()
    found["drawer"] = violations(page, axe)
    assert {tab: list_ for tab, list_ in found.items() if list_} == {}
