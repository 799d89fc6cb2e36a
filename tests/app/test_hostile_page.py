"""Hostile text through every tab, in a real Chromium: it is shown as text, nothing runs, nothing breaks."""

import json
from dataclasses import asdict

import pytest

from actfocus_core.interop.exporting import export_run
from actfocus_core.reports.html import render
from actfocus_core.runs import Run
from actfocus_core.train.control import write_status
from actfocus_studio.jobs.experiments import ExperimentRequest
from tests.hostile import CORPUS, LINES, MARKUP, MEGABYTE, NAME, hostile_run

pytestmark = pytest.mark.browser

PATIENCE = 120_000
PAINTED = "window.ActFocus && ActFocus.trace && ActFocus.trace.state.painted"
FOREIGN = """() => [...document.querySelectorAll('[id^=af-] script, [id^=af-] iframe, [id^=af-] object, [id^=af-] embed, [id^=af-] base, '
  + '[id^=af-] meta, [id^=af-] style, [id^=af-] link, [id^=af-] [onerror], [id^=af-] [onload], [id^=af-] [srcdoc], body > base, '
  + '[id^=af-] img:not([src^="data:image/svg"]):not([src^="blob:"]), [id^=af-] a[href^="javascript"], [id^=af-] a[href*="evil"]')]
  .filter((node) => !node.closest('.js-plotly-plot')).map((node) => node.outerHTML.slice(0, 200))"""
"""What text would have made where it was taken for markup; plotly has style elements of its own."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile-page")
    return {
        "folder": folder,
        "hostile": hostile_run(folder / NAME),
        "large": hostile_run(folder / "large", (*MARKUP[:4], LINES, MEGABYTE)),
    }


@pytest.fixture(scope="module")
def studio(hostile):
    """The address of a studio over the hostile runs alone; a race of them is among them."""
    from actfocus_studio.main import build, serve

    folder = hostile["folder"]
    asked = ExperimentRequest("FrozenLake, deterministic", "grpo", ["uniform"], 1, "30 seconds")
    name = "race-x-1-uniform-s0"
    race = {
        "id": "race-x-1",
        "made": 0.0,
        "request": asdict(asked),
        "steps": 2,
        "runs": [{"name": name, "scheme": "uniform", "seed": 0}],
    }
    (folder / ".races").mkdir()
    (folder / ".races" / "race-x-1.json").write_text(json.dumps(race))
    (folder / ".races" / f"{name}.log").write_text("\n".join(CORPUS), encoding="utf-8")
    run = Run.create(
        folder / name,
        {"command": "train", "env": "frozen_lake", "scheme": "uniform", "note": CORPUS, NAME: {"innerHTML": NAME}},
        {"name": NAME},
    )
    for step in range(2):
        run.log({"step": step, "success/rate": 0.5, "eval/t1/success": 0.5})
    write_status(run.path, state="failed", step=1, elapsed=2.0, message=NAME + MARKUP[3])
    (run.path / "evaluation").mkdir()
    hostile_run(run.path / "evaluation" / "t1")
    demo = serve(build([hostile["hostile"].path], folder))
    yield demo.local_url.rstrip("/")
    demo.close()


@pytest.fixture
def page(chromium, studio):
    """A page in which nothing may run, nothing may complain and nobody else may be asked."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: (errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(PATIENCE)
    yield page
    if page.url.startswith("http"):
        assert page.evaluate("window.__pwn") is None and page.evaluate(FOREIGN) == []
    context.close()
    assert errors == []
    assert [url for url in asked if not url.startswith((studio, "data:", "blob:", "file:"))] == []
    assert not [url for url in asked if url.endswith("/x")]


def tab(page, studio, name, more=""):
    page.goto(f"{studio}/?tab={name}{more}")
    page.wait_for_function(f"window.ActFocus && ActFocus.{name}")


def clean(page):
    """So far nothing ran."""
    page.wait_for_timeout(100)
    assert page.evaluate("window.__pwn") is None and page.evaluate(FOREIGN) == []


def test_trace(page, studio, hostile):
    page.goto(studio)
    page.wait_for_function(PAINTED)
    for key in ("2", "3", "4", "5", "6", "1"):
        page.keyboard.press(key)
    shown = page.evaluate("ActFocus.trace.state.text.spans.map((s) => s.textContent)")
    assert set(CORPUS) - set(shown) <= {"\r\n"}
    # The inspector of each, with the alternatives that the policy had.
    page.evaluate("""() => ActFocus.trace.state.text.spans.forEach((span, i) => {
        if (ActFocus.trace.state.model.kinds[i] === 3) span.click();
    })""")
    assert page.locator(".af-inspector").inner_text()
    assert NAME in page.locator("#af-topbar").inner_text()
    page.keyboard.press("t")
    page.wait_for_function("document.querySelectorAll('#af-trace table tbody tr').length > 20")
    clean(page)


def test_compare(page, studio):
    tab(page, studio, "compare")
    page.wait_for_function(
        "ActFocus.compare.state.data.boards && ActFocus.compare.state.data.credit && ActFocus.compare.state.places && ActFocus.compare.idle()"
    )
    page.locator(".af-pane .t").nth(60).hover()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download report").click()
    assert "/" not in download.value.suggested_filename and "<" not in download.value.suggested_filename
    clean(page)


def test_groups(page, studio):
    tab(page, studio, "groups")
    page.wait_for_function(
        "ActFocus.groups.state.data && document.querySelectorAll('.af-groups .js-plotly-plot').length === 5"
    )
    page.locator(".af-groups section .af-grid tbody button").first.click()
    page.wait_for_function("ActFocus.groups.state.ribbons.rows.length")
    point = page.locator(".af-groups .scatterlayer .point").first
    if point.count():
        point.hover(force=True)
    page.get_by_text("The numbers as tables").click()
    assert MARKUP[1] in page.locator(".af-groups section .af-grid tbody").inner_text()
    clean(page)


def test_tune(page, studio):
    tab(page, studio, "tune")
    page.wait_for_function(
        "ActFocus.tune.state.data && document.querySelectorAll('.af-tune .js-plotly-plot').length === 3"
    )
    clean(page)


def test_train(page, studio):
    tab(page, studio, "train", "&race=race-x-1")
    page.wait_for_function("ActFocus.train.state.race")
    page.get_by_role("button", name="log and commands").click()
    page.wait_for_function(
        "name => Array.from(document.querySelectorAll('.af-log'), (log) => log.textContent).join('').includes(name)",
        arg=NAME,
    )
    page.get_by_role("button", name="evaluations").click()
    page.locator(".af-cells").wait_for()
    clean(page)


def test_learn(page, studio):
    tab(page, studio, "learn", "&lesson=%3Cimg%20src%3Dx%20onerror%3Dwindow.__pwn%3D1%3E&lesson_step=%24%7B1%7D")
    page.wait_for_timeout(500)
    clean(page)


def test_what_if(page, studio, hostile):
    edit = next((hostile["hostile"].path / "whatif").glob("*.json")).stem
    page.goto(f"{studio}/?whatif={edit}")
    page.wait_for_function(
        "window.ActFocus && ActFocus.whatif && ActFocus.whatif.state.what && ActFocus.whatif.state.group"
    )
    said = page.locator(".af-whatif").inner_text()
    assert NAME in said and MARKUP[3] in said and "[link=javascript:x]rich[/link]" in said
    assert set(CORPUS) - set(
        page.evaluate("ActFocus.whatif.state.group.panes[0].view.spans.map((s) => s.textContent)")
    ) <= {"\r\n"}
    clean(page)


def test_a_token_of_a_megabyte_and_one_of_ten_thousand_lines(page, studio):
    page.goto(f"{studio}/?run=large")
    page.wait_for_function(PAINTED)
    ends = f"… ({len(MEGABYTE)} characters)"
    assert (
        page.evaluate("end => ActFocus.trace.state.text.spans.filter((s) => s.textContent.endsWith(end)).length", ends)
        == 2
    )
    # It goes on answering: modes, the inspector of both, another trajectory, and it fits.
    page.evaluate("ActFocus.trace.state.text.spans.filter((s) => s.textContent.length > 900).forEach((s) => s.click())")
    page.keyboard.press("2")
    page.evaluate("ActFocus.go({run: 'large', trajectory: ActFocus.store.place.trajectory.replace('-0-0', '-0-1')})")
    page.wait_for_function("ActFocus.store.place.trajectory.endsWith('-1')")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 1440
    clean(page)


@pytest.mark.parametrize("written", ["report", "page", "notebook"])
def test_what_is_written_runs_nothing_even_without_its_policy(written, page, hostile, tmp_path):
    """As a mail program or a notebook would show it, which know nothing of the page's own content policy."""
    run = hostile["hostile"]
    html = {
        "report": lambda: render(run, 0, "reference", bootstrap=10)[0],
        "page": lambda: export_run(run, tmp_path / "a.html", "html")[0].read_text(),
        "notebook": lambda: run.trajectories(0, "reference")[0]._repr_html_(),
    }[written]()
    assert written == "notebook" or "Content-Security-Policy" in html
    page.set_content(html.replace("Content-Security-Policy", "x"))
    page.wait_for_timeout(200)
    assert page.evaluate("window.__pwn") is None
    assert (
        page.evaluate(
            "document.querySelectorAll('script, img, iframe, object, embed, base, link, form, [onerror], [onload], a[href]').length"
        )
        == 0
    )
    assert NAME in page.locator("body").inner_text()
