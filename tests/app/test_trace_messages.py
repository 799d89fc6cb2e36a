"""The Trace page of an agent that calls tools: messages and blocks, contexts, tools, and the way to what went wrong."""

import json
import re

import pytest
from playwright.sync_api import expect

from actfocus_core.runs import Run
from tests.app.tool_run import ORDER, make_tool_run

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def run(runs_dir) -> Run:
    return make_tool_run(runs_dir / "tools", long=30)


@pytest.fixture
def trace(app, run):
    return app.open("run=tools&trajectory=00000-a-00").trace


def test_messages_have_every_token_once_and_as_it_is(trace, run):
    t = run.trajectory("00000-a-00")
    expect(trace.text_as("Messages")).to_be_checked()
    assert trace.texts() == t.texts
    trace.text_as("Rendered").click()
    expect(trace.message("assistant")).to_have_count(0)
    assert trace.texts() == t.texts


def test_roles_calls_and_results_are_told_apart(trace):
    expect(trace.message("assistant")).to_have_count(3)
    expect(trace.block("Call search")).to_be_visible()
    expect(trace.block("Result search")).to_contain_text("orders")
    expect(trace.block("Call pay")).to_contain_text("error")
    expect(trace.turn(0)).to_contain_text("calls search")
    expect(trace.text.locator(".af-prologue summary").first).to_contain_text("defines 1 tool")


def test_json_is_laid_out_in_lines_and_folds(app, trace):
    result = trace.block("Result search")
    body = result.locator(".af-block")
    orders, note, total = (
        body.locator(".t", has_text=f'{name}"').first.bounding_box() for name in ("orders", "note", "total")
    )
    assert (
        orders["y"] < note["y"] < total["y"]
        and orders["x"] == pytest.approx(total["x"], abs=12)
        and note["x"] > total["x"]
    )
    fold = body.get_by_role("button", name="Fold 3 items")
    fold.click()
    expect(fold).to_have_attribute("aria-expanded", "false")
    expect(body.locator(".t", has_text="onerror")).to_be_hidden()
    assert json.loads(re.search(r"\{.*\}", body.text_content()).group()) == ORDER, "what is folded is still the text"
    # A token that is searched for opens what hides it.
    trace.search_box.fill("onerror")
    expect(fold).to_have_attribute("aria-expanded", "true")
    app.expect_nothing_ran()


def test_a_fold_by_key(app, trace):
    result = trace.block("Result search")
    token = result.locator(".t", has_text="sku").first
    token.click()
    token.evaluate("node => node.focus()")
    app.press("-")
    expect(token).to_be_hidden()


def test_tokens_in_blocks_are_coloured_and_pinned(app, trace, run):
    t = run.trajectory("00000-a-00")
    i = next(i for i, text in enumerate(t.texts) if text == '"arguments":')
    trace.pin(i)
    expect(trace.token(i)).to_have_class(re.compile(r"\bpin\b"))
    expect(trace.token(i)).to_have_css("background-color", re.compile("rgba"))
    assert trace.pinned() == i


def test_the_text_has_the_room(app, trace):
    """The size of the window is 1440 x 900."""
    box = trace.text.bounding_box()
    assert box["width"] >= 0.6 * 1440 and box["height"] >= 0.6 * 900
    expect(trace.root.get_by_label("Turns of the trajectory")).to_be_hidden()
    app.press("f")
    expect(trace.inspector).to_be_hidden()
    box = trace.text.bounding_box()
    assert box["width"] == 1440 and box["height"] > 800
    app.expect_address(full=1)
    app.press("Escape")
    expect(trace.inspector).to_be_visible()


def test_the_address_keeps_form_and_size(app, run):
    trace = app.open("run=tools&trajectory=00000-a-00&text=rendered&full=1").trace
    expect(trace.text_as("Rendered")).to_be_checked()
    expect(trace.inspector).to_be_hidden()
    app.press("f", "v")
    expect(trace.inspector).to_be_visible()
    expect(trace.text_as("Messages")).to_be_checked()


def test_a_malformed_rollout_opens_at_the_bad_turn(app, trace):
    app.press("m")
    trace.expect_trajectory("00000-b-00")
    expect(trace.turn_list).to_have_value("1")
    expect(trace.turn(1)).to_contain_text("malformed answer")
    app.press("m")
    expect(app.toast).to_contain_text("No malformed turn after")
    app.press("j")
    trace.expect_trajectory("00000-b-01")
    app.press("Shift+M")
    trace.expect_trajectory("00000-b-00")
    expect(trace.turn_list).to_have_value("1")


def test_contexts_are_tabs_and_the_shared_prefix_says_so(app, run):
    trace = app.open("run=tools&trajectory=00000-a-01").trace
    expect(trace.contexts).to_have_text(["planner 1", "worker 2"])
    trace.contexts.nth(1).click()
    trace.expect_trajectory("00000-a-01.1")
    expect(trace.contexts.nth(1)).to_have_attribute("aria-selected", "true")
    shared = run.trajectory("00000-a-01.1").parent.token
    expect(trace.text).to_contain_text(f"The first {shared} of")
    expect(trace.token(shared - 1)).to_have_class(re.compile("shared"))
    expect(trace.token(shared)).not_to_have_class(re.compile("shared"))


def test_what_is_known_of_the_rollout(app, run):
    trace = app.open("run=tools&trajectory=00000-b-00").trace
    expect(trace.facts).to_contain_text("timeout")
    expect(trace.facts).to_contain_text(re.compile(r"correct\s*1.000\s*style\s*unavailable"))
    expect(trace.turn(0)).to_contain_text("reward unavailable")
    expect(trace.turn(2)).to_contain_text("reward +1")


def test_tools_of_the_rollout_and_of_the_step(trace, run):
    rows = trace.tool_rows()
    assert [row[:4] for row in rows] == [["search", "1", "0", "100 %"], ["pay", "1", "1", "0 %"]]
    assert all(re.fullmatch(r"[\d.]+ %", row[4]) for row in rows)
    trace.facts.get_by_role("radio", name="Step").click()
    expect(trace.facts).to_contain_text("Tools of 5 trajectories")
    rows = trace.tool_rows()
    assert [row[:4] for row in rows] == [
        ["search", "34", "0", "100 %"],
        ["pay", "2", "1", "50 %"],
        ["bad", "1", "0", "–"],
    ]
    trace.facts.get_by_role("button", name="pay").click()
    assert trace.pinned() is not None
    expect(trace.block("Call pay").locator(".t.pin")).to_have_count(1)


def test_a_grid_world_keeps_its_board(app):
    trace = app.open().trace
    expect(trace.root.get_by_label("Turns of the trajectory")).to_be_visible()
    expect(trace.text_as("Rendered")).to_be_checked()
    expect(trace.facts).to_be_hidden()
    app.press("v")
    expect(trace.message("assistant").first).to_be_visible()
