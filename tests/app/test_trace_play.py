"""The oracle's costs on the Trace page, and a person who plays on from a turn."""

import re
from urllib.parse import unquote

import pytest
from playwright.sync_api import expect

from actfocus_core.oracle import trajectory_values
from actfocus_core.runs import Run
from actfocus_studio.data.serialize import env_options
from actfocus_studio.pages.trace.play import play

pytestmark = pytest.mark.browser


def label(cost: float, lost: bool = False) -> str:
    """What the page says of an action that costs this much."""
    if lost:
        return f"point of no return, cost {cost:.2f}"
    return "optimal" if cost < 0.005 else f"cost {cost:.2f}"


@pytest.mark.parametrize("name", ["plain", "scripted-sokoban", "scripted-sudoku", "scripted-webshop"])
def test_every_action_shows_its_cost(app, runs_dir, name):
    trace = app.open(f"run={name}").trace
    run = Run.open(runs_dir / name)
    turns = trajectory_values(run.trajectory(trace.trajectory()), env_options(run))
    labels = [label(cost, turn.lost == i) for turn in turns for i, cost in enumerate(turn.costs)]
    assert trace.text.locator(".af-turn-head .af-acts + .af-verdict").all_text_contents() == labels and labels
    expect(trace.root.locator(".af-picture img, .af-picture .af-shop")).to_have_count(1)


def test_a_person_plays_sokoban_by_key_and_by_typing(app, runs_dir):
    trace = app.open("run=scripted-sokoban").trace
    id = trace.trajectory()
    app.press("p")
    expect(trace.play).to_contain_text("actions left")
    expect(trace.text).to_be_hidden()
    app.press("ArrowUp", "ArrowLeft")
    expect(trace.played).to_have_count(1)
    expect(trace.played.locator(".af-acts")).to_have_text(["Up", "Left"])
    first = play(Run.open(runs_dir / "scripted-sokoban"), id, 0, [["Up", "Left"]])
    trace.answer_box.fill("<img src=x onerror=window.__pwn=9> || sideways")
    trace.play.get_by_role("button", name="Answer", exact=True).click()
    expect(trace.play).to_contain_text("not a valid action")
    app.expect_nothing_ran()
    trace.play.get_by_role("button", name="Undo").click()
    expect(trace.played).to_have_count(1)
    picture = trace.play.get_by_role("img", name="The environment now").get_attribute("src")
    assert unquote(picture).endswith(first.now.picture)
    trace.play.get_by_role("button", name="Back to the trajectory").click()
    expect(trace.text).to_be_visible()
    expect(trace.play).to_be_hidden()


def test_a_person_shops_by_clicking_and_sees_the_costs(app, runs_dir):
    trace = app.open("run=scripted-webshop").trace
    id = trace.trajectory()
    trace.button("Play from here").click()
    trace.answer_box.fill("search[shirt]")
    trace.answer_box.press("Enter")
    trace.play.locator(".af-shop-list").get_by_role("button").first.click()
    buy = trace.play.get_by_role("button", name=re.compile("buy now"))
    expect(buy).to_be_visible()
    trace.play.get_by_label("Show the cost of each action").check()
    expect(buy.locator(".af-verdict")).to_be_visible()
    moves = [turn.locator(".af-acts").all_text_contents() for turn in trace.played.all()]
    costs = play(Run.open(runs_dir / "scripted-webshop"), id, 0, moves).now.costs
    expect(buy.locator(".af-verdict")).to_have_text(label(costs["click[buy now]"]))
    buy.click()
    expect(trace.play).to_contain_text(re.compile("Episode over|Goal"))
    expect(trace.answer_box).to_be_disabled()
