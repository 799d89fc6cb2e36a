"""Contrast, names and roles of every tab in both themes, by axe-core (vendored in axe-playwright-python)."""

import re
from importlib.resources import files

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

AXE = """async () => (await axe.run(document, {
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
    return page.evaluate(AXE)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_tab(app, axe, theme):
    app.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    app.open("run=plain&token=60")
    body = app.page.locator("body")
    if ("dark" in (body.get_attribute("class") or "")) != (theme == "dark"):
        app.header.get_by_role("button", name="Light or dark").click()
    (expect(body).to_have_class if theme == "dark" else expect(body).not_to_have_class)(re.compile(r"\bdark\b"))
    found = {}
    for name in ("trace", "rollouts", "compare", "groups", "tune", "train", "learn"):
        app.tab(name.capitalize())
        getattr(app, name).ready()
        found[name] = violations(app.page, axe)
    app.learn.starts.first.click()
    expect(app.learn.lesson).to_be_visible()
    found["lesson"] = violations(app.page, axe)
    app.learn.lesson.get_by_role("button", name="Leave the lesson").click()
    app.import_export.open()
    found["import and export"] = violations(app.page, axe)
    app.import_export.toggle.click()
    app.tab("Trace")
    app.leave_control()
    app.press("w")
    app.whatif.ready()
    found["what if"] = violations(app.page, axe)
    assert {part: list_ for part, list_ in found.items() if list_} == {}
