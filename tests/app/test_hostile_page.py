"""Hostile text through every tab, in a real Chromium: it is shown as text, nothing runs, nothing breaks."""

import json
import re
from dataclasses import asdict

import pytest
from playwright.sync_api import expect

from actfocus_core.interop.exporting import export_run
from actfocus_core.reports.html import render
from actfocus_core.runs import Run
from actfocus_core.train.control import write_status
from actfocus_studio.jobs.experiments import ExperimentRequest
from tests.app.pages import LONG_MS, Studio
from tests.hostile import CORPUS, LINES, MARKUP, MEGABYTE, NAME, hostile_run

pytestmark = pytest.mark.browser

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
    """The address of a studio over the hostile runs alone, an experiment among them."""
    from actfocus_studio.main import build, serve

    folder = hostile["folder"]
    request = ExperimentRequest("FrozenLake, deterministic", "grpo", ["uniform"], 1, "30 seconds")
    name = "race-x-1-uniform-s0"
    race = {
        "id": "race-x-1",
        "made": 0.0,
        "request": asdict(request),
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
    studio = serve(build([hostile["hostile"].path], folder))
    yield studio.local_url.rstrip("/")
    studio.close()


@pytest.fixture
def page(chromium, studio):
    """A page in which nothing may run, nothing may complain, and no other host may be reached."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    errors, urls = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: (errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: urls.append(request.url))
    page.set_default_timeout(LONG_MS)
    yield page
    if page.url.startswith("http"):
        assert page.evaluate("window.__pwn") is None and page.evaluate(FOREIGN) == []
    context.close()
    assert errors == []
    assert [url for url in urls if not url.startswith((studio, "data:", "blob:", "file:"))] == []
    assert not [url for url in urls if url.endswith("/x")]


def expect_clean(app: Studio) -> None:
    """So far nothing ran, and nothing was taken for markup."""
    app.expect_nothing_ran()
    assert app.page.evaluate(FOREIGN) == []


def test_trace(app):
    trace = app.open("").trace
    app.press("2", "3", "4", "5", "6", "1")
    assert set(CORPUS) - set(trace.texts()) <= {"\r\n"}
    # The inspector of each, with the alternatives that the policy had.
    trace.text.locator(".t.k3").evaluate_all("nodes => nodes.forEach((node) => node.click())")
    expect(trace.inspector).to_contain_text("position")
    expect(app.header).to_contain_text(NAME)
    trace.open_table()
    assert len(trace.cells("kind")) > 20
    expect_clean(app)


def test_compare(app):
    compare = app.open("tab=compare").compare
    compare.tokens(0).nth(60).hover()
    with app.page.expect_download() as download:
        compare.button("Download report").click()
    assert not re.search("[/<]", download.value.suggested_filename)
    expect_clean(app)


def test_groups(app):
    groups = app.open("tab=groups").groups
    groups.rows.first.click()
    expect(groups.ribbons.first).to_be_visible()
    # Few groups: the charts have points all the same, with a label each.
    groups.root.locator(".scatterlayer .point").first.hover(force=True)
    groups.root.get_by_text("The numbers as tables").click()
    expect(groups.table).to_contain_text(MARKUP[1])
    expect_clean(app)


def test_tune(app):
    app.open("tab=tune")
    expect_clean(app)


def test_train(app):
    train = app.open("tab=train&race=race-x-1").train
    train.button("log and commands").click()
    expect(train.root.locator(".af-log").filter(has_text=NAME)).not_to_have_count(0)
    train.button("evaluations").click()
    expect(train.root.locator(".af-cells")).to_be_visible()
    expect_clean(app)


def test_learn(app):
    app.open("tab=learn&lesson=%3Cimg%20src%3Dx%20onerror%3Dwindow.__pwn%3D1%3E&lesson_step=%24%7B1%7D")
    expect(app.learn.lesson).to_be_hidden()
    expect_clean(app)


def test_what_if(app, hostile):
    edit = next((hostile["hostile"].path / "whatif").glob("*.json")).stem
    panel = app.open(f"whatif={edit}").whatif
    expect(panel.panes.first).to_be_visible()
    text = panel.root.inner_text()
    assert NAME in text and MARKUP[3] in text and "[link=javascript:x]rich[/link]" in text
    assert set(CORPUS) - set(panel.tokens(0).all_text_contents()) <= {"\r\n"}
    expect_clean(app)


def test_a_token_of_a_megabyte_and_one_of_ten_thousand_lines(app):
    trace = app.open("run=large").trace
    texts, end = trace.texts(), f"… ({len(MEGABYTE)} characters)"
    assert sum(text.endswith(end) for text in texts) == 2
    # It goes on answering: the inspector of the longest, another colour, another trajectory; and it fits.
    for i in (i for i, text in enumerate(texts) if len(text) > 900):
        trace.pin(i)
    first = trace.trajectory()
    app.press("2", "j")
    expect(trace.id_box).not_to_have_value(first)
    trace.expect_colour("Kind")
    app.expect_no_overflow(1440)
    expect_clean(app)


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
    Studio(page, "").expect_nothing_ran()
    assert (
        page.evaluate(
            "document.querySelectorAll('script, img, iframe, object, embed, base, link, form, [onerror], [onload], a[href]').length"
        )
        == 0
    )
    assert NAME in page.locator("body").inner_text()
