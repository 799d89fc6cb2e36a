"""A turn branched in the What-if panel: its outcomes, and work that is cancelled."""

import re

import numpy as np
import psutil
import pytest
from playwright.sync_api import expect

from actfocus_core.counterfactual import store
from tests.app.pages import plain
from tests.app.sample import interesting_trajectory
from tests.processes import command_line

pytestmark = pytest.mark.browser

WORKER = "actfocus_studio.jobs.whatif.worker"


def answer(app, run):
    """The stored answer that the panel shows, once it is whole."""
    app.whatif.expect_answer()
    app.page.wait_for_url(re.compile(r"whatif=branch-[0-9a-f]{12}"))
    what = store.load(run, app.parameters()["whatif"])
    expect(app.whatif.sentence).to_contain_text(f"{what.result['to_go']['n']} sample")
    return what


def test_a_turn_is_branched_and_each_outcome_opens(app, sampled_run):
    id = interesting_trajectory(sampled_run)
    panel = app.open(f"run=sampled-lake&trajectory={id}").whatif
    app.press("w")
    panel.ready()
    panel.field("Then").select_option("action")
    panel.field("Action").fill("Left || Up")
    panel.field("Number of samples").fill("4")
    panel.start("Branch")
    what = answer(app, sampled_run)
    assert (what.request["trajectory"], what.request["turn"], what.request["action"]) == (id, 0, "Left || Up")
    for outcome in what.trajectories:
        tokens = zip(outcome.texts, outcome.kinds, outcome.turns)
        assert "".join(text for text, kind, turn in tokens if kind == 4 and turn == 0) == "Left || Up"
    to_go, text = what.result["to_go"], plain(panel.root.text_content())
    assert f"4 samples: mean return-to-go {to_go['mean']:.2f} [{to_go['low']:.2f}, {to_go['high']:.2f}]" in text
    assert f"Optimal play: {what.result['optimal']['value']:.2f}." in text
    first, node = plain(panel.branches.first.text_content()), what.result["tree"][0]
    assert f"{node['count']} of 4" in first and f"oracle {node['optimal']['turn']:.2f}" in first
    # Every outcome opens as a trajectory beside the stored one, which stays.
    for outcome in what.trajectories[:3]:
        number = int(outcome.id.split("~")[1]) + 1
        panel.root.get_by_label(f"Open branch {number}", exact=True).first.click()
        expect(panel.answer.get_by_role("region", name=f"Branch {number}", exact=True)).to_be_attached()
        assert panel.pane_text(0) == "".join(sampled_run.trajectory(id).texts)
        assert panel.pane_text(1) == "".join(outcome.texts)
    assert panel.answer.locator(".af-worlds img").count() >= 4
    app.reload()
    expect(panel.sentence).to_contain_text("mean return-to-go")
    app.expect_address(whatif=what.id)


def workers() -> list[psutil.Process]:
    """The living processes that answer the panels of this test's studio; one may end at any moment."""
    return [process for process in psutil.Process().children() if WORKER in command_line(process)]


def work_until(app, text: str) -> None:
    """Let the process work for one poll of the page at a time until the page shows ``text``; then it stands still."""
    for _ in range(1000):
        if text in app.whatif.job.text_content():
            return
        with app.page.expect_response("**/studio/api/whatif/look"):
            for process in workers():
                process.resume()
        for process in workers():
            process.suspend()
    raise AssertionError(f"the panel never shows {text!r}")


def test_the_policy_replies_as_often_as_requested_and_can_be_cancelled(app, sampled_run):
    id = interesting_trajectory(sampled_run)
    panel = app.open(f"run=sampled-lake&trajectory={id}&whatif=branch").whatif
    panel.ready()
    panel.field("Number of samples").fill("64")
    panel.field("Temperature").fill("0.9")
    before = set(sampled_run.path.rglob("*"))
    # However fast the machine, the process is still at work when it is cancelled.
    for process in workers():
        process.suspend()
    panel.start("Branch")
    cancel = panel.button("Cancel")
    cancel.focus()
    work_until(app, "Sampling rollouts")
    # The text changes around the button, which keeps the focus.
    expect(cancel).to_be_focused()
    app.press("Enter")
    expect(panel.job).to_contain_text("cancelled; nothing was kept")
    expect(panel.button("Branch")).to_be_enabled()
    expect(panel.root.get_by_role("progressbar")).to_have_count(0)
    expect(panel.answer).not_to_have_attribute("aria-busy", "true")
    assert set(sampled_run.path.rglob("*")) == before
    # The next one is answered, by a new process: the policy's own replies, as many as were requested.
    panel.field("Number of samples").fill("3")
    panel.start("Branch")
    what = answer(app, sampled_run)
    request = {"trajectory": id, "turn": 0, "token": None, "action": None, "text": None}
    request |= {"temperature": 0.9, "rollouts": 3}
    assert {name: what.request[name] for name in request} == request
    mean = f"From turn 1, 3 samples: mean return-to-go {what.result['to_go']['mean']:.2f}"
    assert mean in plain(panel.root.text_content())
    original = sampled_run.trajectory(id)
    prompt = original.token_ids[: int(np.flatnonzero(original.response_mask)[0])].tolist()
    assert [t.token_ids[: len(prompt)].tolist() for t in what.trajectories] == [prompt] * 3
    first_turn = panel.region("Tree of outcomes").locator(".af-tree").first.locator(":scope > li > .af-branch")
    counts = first_turn.locator(".af-branch-count").all_text_contents()
    assert sum(int(text.split(" of ")[0]) for text in counts) == 3
