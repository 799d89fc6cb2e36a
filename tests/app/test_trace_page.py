"""The Trace page in a real Chromium: its tokens, its turns, and the ways from one to the next."""

import shutil

import pytest
from playwright.sync_api import expect

from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind
from tests.app.pages import Studio
from tests.app.pages.base import click_point, traces
from tests.app.sample import make_run

pytestmark = pytest.mark.browser


@pytest.fixture
def plain_run(runs_dir) -> Run:
    return Run.open(runs_dir / "plain")


def test_every_token_is_there_with_its_own_text_and_kind(app, plain_run):
    trace = app.open().trace
    t = plain_run.trajectory(trace.trajectory())
    assert trace.texts() == t.texts and len(t.texts) > 100
    trace.open_table()
    kinds = ["format" if kind == "malformed" else kind for kind in trace.cells("kind")]
    assert kinds == [TokenKind(kind).name.lower() for kind in t.kinds]


def test_turns_are_stepped_by_button_key_and_scrubber(app):
    trace = app.open().trace
    last = trace.turns.count() - 1
    app.press("ArrowRight")
    trace.expect_turn(1)
    trace.button("Next turn (→)").click()
    trace.expect_turn(min(2, last))
    trace.button("Previous turn (←)").click()
    app.press("ArrowLeft", "ArrowLeft")
    trace.expect_turn(0)
    expect(trace.turns.first).to_contain_text("Turn 1")
    trace.scrubber.fill(str(last))
    trace.expect_turn(last)


def test_trajectories_are_stepped_by_key_and_chosen_by_button_and_id(app):
    trace = app.open().trace
    first = trace.trajectory()
    app.press("j")
    expect(trace.id_box).not_to_have_value(first)
    app.press("k")
    trace.expect_trajectory(first)
    other = trace.rollouts.and_(app.page.locator(":not([aria-current])")).first
    id = other.get_attribute("title").split(":")[0]
    other.click()
    trace.expect_trajectory(id)
    trace.id_box.fill("no such thing")
    app.press("Enter")
    expect(trace.alert).to_contain_text("There is no trajectory")


def test_a_broken_run_is_one_line_in_the_page(app):
    trace = app.open().trace
    app.choose_run("broken")
    expect(trace.alert).to_contain_text("not readable JSON")
    trace.button("Close").first.click()
    app.press("ArrowRight")
    trace.expect_turn(1)


def test_keys_are_off_while_typing(app):
    trace = app.open().trace
    app.press("/")
    app.page.keyboard.type("left 2")
    expect(trace.search_box).to_have_value("left 2")
    trace.expect_turn(0)
    trace.expect_colour("Weight")
    app.press("Escape", "2")
    trace.expect_colour("Kind")


def test_one_tab_stop_and_arrows_within_the_text(app):
    trace = app.open().trace
    stop = trace.text.locator(".t[tabindex='0']")
    expect(stop).to_have_count(1)
    stop.focus()
    app.press("ArrowRight", "ArrowRight")
    assert trace.pinned() is not None
    trace.expect_turn(0)
    expect(stop).to_have_count(1)
    app.press("Escape")
    assert trace.pinned() is None


def test_theme_table_and_help(app):
    trace = app.open().trace
    light = app.header.evaluate("header => getComputedStyle(header).color")
    app.header.get_by_role("button", name="Light or dark").click()
    expect(app.header).not_to_have_css("color", light)
    tokens = trace.tokens.count()
    app.press("t")
    expect(trace.table).to_be_visible()
    assert len(trace.cells("weight")) == tokens
    app.press("t", "?")
    expect(app.help).to_be_visible()
    app.press("Escape")
    expect(app.help).to_be_hidden()


def test_the_chart_is_of_every_token_and_a_click_pins_one(app):
    trace = app.open().trace
    expect(trace.chart).to_be_visible()
    weight = next(trace_ for trace_ in traces(trace.chart) if trace_["name"] == "weight")
    assert weight["x"] == list(range(trace.tokens.count()))
    i = next(i for i, value in enumerate(weight["y"]) if value)
    click_point(app.page, trace.chart, i, weight["y"][i])
    expect(trace.inspector).to_contain_text("position")
    assert abs(trace.pinned() - i) <= 2, "the tokens lie closer together than a pointer is thick"


def test_two_pages_do_not_see_each_others_view(app, studio, chromium):
    app.open()
    first = app.trace.trajectory()
    context = chromium.new_context()
    other = Studio(context.new_page(), studio).open("run=plain&alpha=0.9")
    other.press("j")
    expect(other.trace.id_box).not_to_have_value(first)
    app.press("ArrowRight")
    app.trace.expect_turn(1)
    app.trace.expect_trajectory(first)
    app.expect_sliders(0.1, 0.5)
    context.close()


@pytest.mark.parametrize("width", [420, 800, 1024])
def test_nothing_runs_off_a_narrow_page(app, width):
    app.page.set_viewport_size({"width": width, "height": 900})
    app.open().expect_no_overflow(width)
    # Nor does the bar, which does not scroll: run, link, theme and help are in sight, and no tab lies over them.
    boxes = [node.bounding_box() for node in app.header.locator("[role=combobox], button").filter(visible=True).all()]
    tabs = app.page.locator("#af-tabs > .tab-wrapper").bounding_box()
    assert len(boxes) == 5 and max(box["x"] + box["width"] for box in boxes) <= width
    assert min(box["x"] for box in boxes) >= tabs["x"] + tabs["width"] - 10


def test_a_run_that_is_deleted_while_it_is_open(app, runs_dir):
    """One line on each page that looks at it, and everything else goes on."""
    run = make_run(runs_dir / "doomed", prompts=2, rollouts=2, steps=2)
    app.open("run=doomed")
    shutil.rmtree(run.path)
    app.press("j")
    gone = "there is no run “doomed” here"
    expect(app.trace.alert).to_contain_text(gone)
    for title, part in (("Compare", app.compare), ("Groups", app.groups), ("Tune", app.tune)):
        app.tab(title)
        expect(part.alert).to_contain_text(gone)
    for title, part in (("Train", app.train), ("Learn", app.learn)):
        app.tab(title)
        part.ready()
    app.open("run=plain")
