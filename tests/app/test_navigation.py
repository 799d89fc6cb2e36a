"""Tabs are state: the address names them at every width, and Back and Forward walk through tabs, runs and trajectories."""

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def entries(page: Page) -> int:
    """How many addresses the browser keeps in its history."""
    return page.evaluate("history.length")


def test_back_and_forward_walk_through_tabs_runs_and_trajectories(app):
    app.open("run=plain")
    first = app.trace.trajectory()
    app.press("j")
    expect(app.trace.id_box).not_to_have_value(first)
    second = app.trace.trajectory()
    app.expect_address(trajectory=second)
    app.tab("Tune")
    app.expect_address(tab="tune")
    app.tune.ready()
    app.choose_run("unscored")
    app.expect_address(run="unscored")
    app.page.go_back()
    app.expect_address(run="plain", tab="tune", trajectory=second)
    expect(app.run).to_have_value("plain")
    app.page.go_back()
    app.expect_address(tab="trace", trajectory=second)
    expect(app.page.get_by_role("tab", name="Trace", exact=True)).to_have_attribute("aria-selected", "true")
    app.page.go_back()
    app.expect_address(trajectory=first)
    app.trace.expect_trajectory(first)
    app.page.go_forward()
    app.trace.expect_trajectory(second)
    app.page.go_forward()
    app.expect_address(tab="tune", run="plain")
    expect(app.page.get_by_role("tab", name="Tune", exact=True)).to_have_attribute("aria-selected", "true")
    app.page.go_forward()
    app.expect_address(run="unscored")
    expect(app.run).to_have_value("unscored")


def test_a_slider_replaces_the_address_and_back_keeps_its_value(app):
    app.open("run=plain")
    before = entries(app.page)
    for alpha in (0.3, 0.6, 0.9):
        app.slide(alpha=alpha)
    app.preset("Role only").check()
    app.expect_address(alpha="0.1", beta="0")
    assert entries(app.page) == before
    app.leave_control()
    app.press("j")
    app.expect_address(alpha="0.1", beta="0")
    app.page.wait_for_function("before => history.length === before + 1", arg=before)
    app.slide(alpha=0.5)
    app.page.go_back()
    # The settings of the address that one comes back to.
    app.expect_address(alpha="0.1", beta="0")
    app.expect_sliders(0.1, 0)


@pytest.mark.parametrize("width", [360, 390, 720, 1440])
@pytest.mark.parametrize("tab", ["trace", "rollouts", "compare", "groups", "tune", "train", "learn"])
def test_the_address_selects_a_tab_at_every_width(app, width, tab):
    """720 is what 1440 has at a zoom of 200 %."""
    app.page.set_viewport_size({"width": width, "height": 800})
    app.open(f"run=plain&tab={tab}")
    app.expect_address(tab=tab)


@pytest.mark.parametrize("width", [360, 720])
def test_a_lesson_changes_tabs_at_every_width(app, width):
    app.page.set_viewport_size({"width": width, "height": 800})
    app.open("run=plain&tab=learn")
    app.learn.start("Role weights and energy weights")
    app.expect_address(tab="trace")
    app.learn.step("Next")
    app.expect_address(tab="tune")
    app.tune.ready()
    app.learn.lesson.get_by_role("button", name="Leave the lesson").click()
    app.expect_address(tab="learn")
    app.learn.ready()
