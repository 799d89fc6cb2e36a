"""The run picker in a real Chromium: a run is found by typing, renamed, deleted and restored."""

import re

import pytest
from playwright.sync_api import expect

from actfocus_studio.main import build, serve
from tests.app.pages import ORDINARY_MS, Studio
from tests.app.sample import HOSTILE, make_run

pytestmark = pytest.mark.browser

FILE = HOSTILE[0].replace("/", "")
"""Markup as the name of a folder."""


@pytest.fixture
def own(chromium, tmp_path):
    """A studio whose runs may be changed, and their folder."""
    for name in ("first", "second"):
        make_run(tmp_path / name, prompts=2, rollouts=2)
    make_run(tmp_path / FILE, prompts=1)
    server = serve(build([], tmp_path))
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(ORDINARY_MS)
    yield Studio(page, server.local_url.rstrip("/")), tmp_path
    context.close()
    server.close()
    assert not errors


def test_a_run_is_found_by_typing_and_opened_by_enter(app):
    app.open("run=plain")
    app.press("r")
    expect(app.runs.field).to_be_focused()
    # What is open is marked.
    expect(app.runs.chosen).to_contain_text("plain")
    app.runs.search("scripted-so", rows=1)
    expect(app.runs.rows.first).to_contain_text("4 rollouts")
    expect(app.runs.rows.first).to_contain_text(re.compile(r"\d % success"))
    app.press("Enter")
    expect(app.run).to_have_value("scripted-sokoban")
    app.expect_address(run="scripted-sokoban")
    expect(app.runs.root).to_be_hidden()


def test_enter_opens_what_was_typed_though_the_list_is_still_that_of_before(app):
    app.open("run=plain")
    app.runs.open()
    app.page.keyboard.type("unscored")
    app.press("Enter")
    expect(app.run).to_have_value("unscored")


def test_arrow_keys_choose_and_escape_changes_nothing(app):
    app.open("run=plain")
    app.runs.open()
    app.runs.field.press("ArrowUp")
    marked = app.runs.chosen
    expect(marked).to_have_count(1)
    expect(marked).not_to_contain_text("plain")
    expect(app.runs.field).to_have_attribute("aria-activedescendant", marked.get_attribute("id"))
    app.press("Escape")
    expect(app.runs.root).to_be_hidden()
    expect(app.run).to_have_value("plain")
    # From the field alone, and away with a click elsewhere.
    app.press("ArrowDown")
    expect(app.runs.grid).to_be_visible()
    app.leave_control()
    expect(app.runs.root).to_be_hidden()
    expect(app.run).to_have_value("plain")


def test_sections_and_order(app):
    app.open("run=plain")
    app.runs.open()
    app.runs.radio("Samples").click()
    expect(app.runs.row("plain")).to_have_count(0)
    expect(app.runs.row("webshop")).to_be_visible()
    # A sample can be opened, and not changed.
    expect(app.runs.rows.get_by_role("button")).to_have_count(0)
    app.runs.root.get_by_label("Order", exact=True).select_option("name")
    expect(app.runs.rows.first).to_contain_text("frozen-lake")
    names = app.runs.names()
    assert names == sorted(names)
    app.runs.radio("Evaluations").click()
    expect(app.runs.root).to_contain_text("There is no run here.")


def test_a_run_is_renamed_deleted_and_restored(own):
    app, folder = own
    app.open("run=first&tab=trace")
    trajectory = app.trace.trajectory()
    app.runs.open()
    app.runs.rename("first", "second")
    expect(app.runs.alert).to_contain_text("there is a run of this name already")
    app.press("Escape")
    app.runs.rename("first", "renamed")
    expect(app.runs.told).to_contain_text("first is now renamed")
    app.expect_address(run="renamed", trajectory=trajectory)
    assert (folder / "renamed").is_dir() and not (folder / "first").exists()
    # The open run is deleted: another one opens, and Undo brings both back.
    app.runs.delete("renamed")
    expect(app.runs.told).to_contain_text("restored for 7 days")
    app.expect_address(run="frozen-lake")
    expect(app.runs.row("renamed")).to_have_count(0)
    app.runs.button("Undo").click()
    app.expect_address(run="renamed", trajectory=trajectory)
    expect(app.runs.row("renamed")).to_be_visible()
    assert (folder / "renamed").is_dir()


def test_what_was_deleted_is_listed_and_removed_only_after_a_question(own):
    app, folder = own
    app.open("run=sokoban")
    app.runs.open()
    app.runs.search("second", rows=1)
    app.runs.field.press("ArrowDown")
    app.runs.field.fill("")
    expect(app.runs.row("first")).to_be_visible()
    app.runs.delete("second")
    expect(app.runs.row("second")).to_have_count(0)
    app.runs.button("Deleted runs (1)").click()
    expect(app.runs.deleted).to_contain_text("6 days left")
    app.runs.button("Remove second for good").click()
    expect(app.runs.deleted).to_contain_text("This cannot be undone.")
    app.runs.button("Keep").click()
    assert len(list(folder.glob(".trash/*/second"))) == 1
    app.runs.button("Remove second for good").click()
    app.runs.button("Remove for good").click()
    expect(app.runs.deleted).to_contain_text("There are none.")
    assert list((folder / ".trash").iterdir()) == []
    app.runs.button("Back to the runs").click()
    expect(app.runs.row("first")).to_be_visible()


def test_hostile_names_are_text(own):
    app, _ = own
    name = FILE
    app.open("run=sokoban")
    app.runs.open()
    expect(app.runs.row(name)).to_be_visible()
    expect(app.runs.root.locator("img, script")).to_have_count(0)
    app.runs.delete(name)
    expect(app.runs.told).to_contain_text(name)
    app.expect_nothing_ran()


@pytest.mark.parametrize("width", [390, 1024])
def test_the_list_fits_the_screen(app, width):
    app.page.set_viewport_size({"width": width, "height": 800})
    app.open("run=plain")
    app.runs.open()
    box = app.runs.root.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= 800
    app.expect_no_overflow(width)
    app.runs.search("unsco", rows=1)
    app.press("Enter")
    expect(app.run).to_have_value("unscored")
