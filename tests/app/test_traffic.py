"""What the studio's page sends and draws by itself: nothing that nobody asked for."""

import pytest
from playwright.sync_api import expect

from actfocus_core.runs import Run

pytestmark = pytest.mark.browser


def test_a_slider_sends_no_request(app):
    trace = app.open().trace
    first = trace.trajectory()
    expect(trace.chart).to_be_visible()
    app.traffic.clear()
    for value in (0.2, 0.4, 0.6):
        app.slide(alpha=value, beta=value)
    app.leave_control()
    # What comes after is sent, and is all that is sent.
    app.press("j")
    expect(trace.id_box).not_to_have_value(first)
    assert [request["view"]["trajectory"] for request in app.traffic.posted] == [trace.trajectory()]
    assert len(app.traffic.urls) == 1, app.traffic.urls


def test_of_quick_steps_the_last_one_counts(app):
    trace = app.open().trace
    ids = [title.split(":")[0] for title in trace.rollouts.evaluate_all("nodes => nodes.map((node) => node.title)")]
    app.traffic.clear()
    trace.rollouts.evaluate_all("nodes => nodes.forEach((node) => node.click())")
    trace.expect_trajectory(ids[-1])
    # Those in between are never sent.
    sent = [request["view"]["trajectory"] for request in app.traffic.posted]
    assert sent == [ids[0], ids[-1]] and len(ids) > 2


def test_a_studio_that_is_gone_gives_one_line_until_it_is_back(app):
    trace = app.open().trace
    first = trace.trajectory()
    app.press("j")
    expect(trace.id_box).not_to_have_value(first)
    second = trace.trajectory()
    app.page.route("**/studio/api/**", lambda route: route.abort())
    # A page may still reach the server for a moment.
    app.page.wait_for_function(
        "() => fetch('studio/api/trace/open', { method: 'POST' }).then(() => false, () => true)", polling=50
    )
    app.press("k")
    expect(trace.alert).to_contain_text("did not answer")
    trace.expect_trajectory(second)
    app.page.unroute("**/studio/api/**")
    app.press("k")
    trace.expect_trajectory(first)
    expect(trace.alert).to_be_hidden()


COUNT_FRAMES = """
window.frames_requested = 0;
const request = window.requestAnimationFrame;
window.requestAnimationFrame = (then) => { window.frames_requested += 1; return request(then); };
"""
AT_REST = """async () => {
  const before = window.frames_requested;
  for (let k = 0; k < 40; k++) await fetch('robots.txt', { cache: 'no-store' });
  return window.frames_requested === before;
}"""


def test_a_page_at_rest_requests_no_frames(app):
    """None while the server answers forty requests, one after another: a page that draws all the time requests many."""
    app.page.add_init_script(COUNT_FRAMES)
    app.open()
    assert app.page.evaluate("window.frames_requested") > 0
    app.page.wait_for_function(AT_REST)


def test_new_rollouts_of_the_embedded_policy_are_sampled_and_opened(app, runs_dir):
    app.open()
    before = {path.name for path in runs_dir.iterdir()}
    app.page.get_by_text("New rollouts").click()
    app.set_rollouts(prompts=2, rollouts=3)
    app.page.locator("#af-roll").click()
    expect(app.page.get_by_role("progressbar", name="progress of the rollout")).to_be_visible()
    expect(app.run).not_to_have_value("plain", timeout=240_000)
    assert app.run.input_value() not in before
    run = Run.open(runs_dir / app.run.input_value())
    assert len(run.index()) == 6 and run.references() == ["tiny"]
    app.trace.ready()
    assert app.trace.texts() == run.trajectory(app.trace.trajectory()).texts
