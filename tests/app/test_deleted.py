"""A run folder that is deleted while a page shows it: one line in the page, and everything else goes on."""

import shutil

import pytest

from tests.app.sample import make_run

pytestmark = pytest.mark.browser


def test_a_run_that_is_deleted_while_it_is_open(page, studio, runs_dir):
    run = make_run(runs_dir / "doomed", prompts=2, rollouts=2, steps=2)
    page.goto(f"{studio}/?run=doomed")
    page.wait_for_function(
        "window.ActFocus && ActFocus.trace && ActFocus.trace.state.painted && ActFocus.store.place.run === 'doomed'"
    )
    shutil.rmtree(run.path)
    page.keyboard.press("j")
    page.locator(".af-alert.error:visible").get_by_text("there is no run “doomed” here").wait_for()
    # The other pages of it say so too, and none breaks.
    for tab in ("Compare", "Groups", "Tune", "Train", "Learn", "Trace"):
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_timeout(300)
    page.goto(f"{studio}/?run=plain")
    page.wait_for_function(
        "window.ActFocus && ActFocus.trace && ActFocus.trace.state.painted && ActFocus.store.place.run === 'plain'"
    )
