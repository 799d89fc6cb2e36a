"""The Learn page in a browser: a lesson by keyboard alone, as a link, and in class mode."""

import re
import shutil

import numpy as np
import pytest
from playwright.sync_api import expect

from actfocus_core.counterfactual import store as whatif
from actfocus_core.credit import token_weights
from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind
from actfocus_studio.pages.learn.lessons import load_lessons
from tests.app.pages import Studio, plain

pytestmark = pytest.mark.browser

LESSONS = load_lessons()
UNIFORM, ONE_UPDATE = LESSONS["uniform"].title, LESSONS["one-update"].title
PINNED = re.compile(r"position\s*\d+ of ")


def expect_tab(app, name: str) -> None:
    """The tab with this name in the address is open."""
    expect(app.page.get_by_role("tab", name=name.capitalize(), exact=True)).to_have_attribute("aria-selected", "true")


def test_a_lesson_by_keyboard_alone(app, runs_dir):
    app.open("run=plain&tab=learn&turn=1")
    learn = app.learn
    expect(learn.starts).to_have_count(len(LESSONS))
    learn.starter(UNIFORM).focus()
    app.press("Enter")
    # The tab shows the view of the lesson, and the focus is in the lesson.
    app.expect_sliders(1, 0)
    expect_tab(app, "trace")
    learn.expect_lesson(UNIFORM)
    expect(learn.heading).to_be_focused()
    app.trace.expect_turn(1)
    expect(app.trace.gradient_share).to_be_hidden()  # it would give the answer away
    kinds = np.concatenate([t.kinds for t in Run.open(runs_dir / "plain").trajectories(0)])
    share = 100 * (kinds == TokenKind.ACTION).sum() / np.isin(kinds, (3, 4, 5)).sum()
    learn.tab_to(learn.lesson.get_by_role("spinbutton"))
    app.page.keyboard.type(f"{share + 1:.1f}")
    app.press("ArrowLeft", "Enter")
    expect(learn.reveal).to_contain_text("Correct.")
    expect(learn.reveal).to_contain_text(f"{share:.1f} %")
    expect(app.trace.gradient_share).to_be_visible()
    app.trace.expect_turn(1)
    # The answer to the next step is a choice.
    learn.lesson.get_by_role("button", name="Next").press("Enter")
    app.expect_sliders(0.1, 0.5)
    learn.expect_step(2, 2)
    learn.lesson.get_by_role("radio").first.focus()
    app.press("ArrowDown", "Enter")
    expect(learn.reveal).to_contain_text(re.compile("[Cc]orrect"))
    expect(learn.correct).to_have_count(1)
    expect(app.preset("ActFocus")).to_be_checked()
    learn.lesson.get_by_role("button", name="Finish").press("Enter")
    expect(learn.lesson).to_be_hidden()
    expect(learn.starter(UNIFORM)).to_be_focused()
    expect_tab(app, "learn")


def test_a_lesson_is_a_link_and_class_mode_hides_the_controls(app, runs_dir):
    app.open("run=plain&lesson=a-turn&lesson_step=1&classroom=1")
    app.learn.expect_lesson(LESSONS["a-turn"].title)
    app.learn.expect_step(2, 3)
    expect(app.trace.inspector).to_contain_text(PINNED)
    t = Run.open(runs_dir / "plain").trajectory(app.trace.trajectory())
    assert t.kinds[app.trace.pinned()] == TokenKind.ACTION
    expect(app.slider("alpha")).to_be_hidden()
    expect(app.import_export.toggle).to_be_hidden()
    app.expect_address(lesson="a-turn", lesson_step=1, classroom=1, color="kind")
    app.learn.lesson.get_by_role("button", name="Leave the lesson").click()
    app.learn.root.get_by_label("Class mode").uncheck()
    expect(app.slider("alpha")).to_be_visible()
    app.expect_address(lesson=None)


def test_an_unknown_lesson_is_one_line(app):
    app.goto("run=plain&lesson=%3Cimg%20src%3Dx%3E")
    expect(app.learn.alert).to_contain_text("There is no lesson “<img src=x>” here")
    expect_tab(app, "learn")
    app.expect_address(lesson=None)


@pytest.mark.parametrize("name", LESSONS)
def test_every_step_of_a_lesson_opens_its_tab(app, name):
    lesson = LESSONS[name]
    app.goto(f"run=plain&lesson={name}")
    app.learn.expect_lesson(lesson.title)
    for n, step in enumerate(lesson.steps):
        if n:
            app.learn.step("Next")
        app.learn.expect_step(n + 1, len(lesson.steps))
        expect_tab(app, step.view.get("tab", "trace"))
        if step.pin:
            expect(app.trace.inspector).to_contain_text(PINNED)
    expect(app.page.locator("[role=alert].error:visible")).to_have_count(0)


@pytest.fixture
def sampled(runs_dir):
    """A run whose policy is here, so that an update on it can be computed."""
    folder = runs_dir / "sampled"
    shutil.copytree(assets() / "runs" / "frozen-lake", folder, ignore=shutil.ignore_patterns("whatif"))
    yield Run.open(folder)
    shutil.rmtree(folder)


def answer(learn) -> str:
    """Choose the first answer by keyboard; returns what is revealed."""
    learn.tab_to(learn.lesson.get_by_role("radio").first)
    learn.page.keyboard.press("Space")
    learn.page.keyboard.press("Enter")
    expect(learn.reveal).to_contain_text(re.compile("[Cc]orrect"))
    return plain(learn.reveal.text_content())


def follow(learn, n: int) -> None:
    """Go to the next step by keyboard."""
    learn.tab_to(learn.lesson.get_by_role("button", name="Next"))
    learn.page.keyboard.press("Enter")
    learn.expect_step(n, 3)


def test_the_lesson_on_one_update_drives_the_what_if_panel_by_keyboard(app, sampled):
    app.page.emulate_media(reduced_motion="reduce")
    app.open("run=sampled&tab=learn")
    learn, panel = app.learn, app.whatif
    learn.starter(ONE_UPDATE).focus()
    app.press("Enter")
    answer(learn)
    expect(panel.root).to_be_hidden()
    follow(learn, 2)
    # The panel is at the lesson's step of the update, on the rollout that failed; the focus has stayed in the lesson.
    panel.expect_stage(5)
    panel.expect_answer()
    expect(learn.heading).to_be_focused()
    expect(app.page).to_have_url(re.compile("whatif=replay-[0-9]+"))
    id = app.trace.trajectory()
    t, update = sampled.trajectory(id), whatif.load(sampled, app.parameters()["whatif"])
    signals = next(other for other in update.trajectories if other.id == id).signals
    assert not t.success
    first = int(np.flatnonzero(t.kinds == TokenKind.ACTION)[0])
    expect(panel.chain).to_contain_text(f"{signals['weight:actfocus'][first]:.3f}")
    app.press("ArrowRight")
    panel.expect_stage(6)
    batch = sampled.trajectories(0, "tiny")
    kinds = np.concatenate([t.kinds for t in batch])
    weights = token_weights(kinds, np.concatenate([t.signals["ref_energy"] for t in batch]), 0.1, 0.5)
    share = weights[kinds == TokenKind.REASONING].sum() / weights[np.isin(kinds, (3, 4, 5))].sum()
    assert f"{100 * share:.1f} % of the weight" in answer(learn)
    follow(learn, 3)
    panel.expect_stage(8)
    app.trace.expect_trajectory(id)
    change = signals["logprob_after:actfocus"] - signals["logprob_before"]
    revealed, moved = answer(learn), change[t.kinds == TokenKind.ACTION].mean()
    for kind in (TokenKind.ACTION, TokenKind.REASONING):
        assert f"by {change[t.kinds == kind].mean():.4f}" in revealed
    against = change[t.response_mask] * signals["advantage:actfocus"][t.response_mask] < 0
    assert f"{100 * against.mean():.0f} % of its tokens" in revealed
    expect(learn.correct).to_contain_text("yes" if moved < 0 else "no")
    # The step is a link, which opens lesson and panel.
    app.expect_address(stage=8, lesson_step=2)
    other = Studio(app.page.context.new_page(), app.address)
    other.page.goto(app.page.url)
    other.whatif.expect_stage(8)
    other.learn.expect_step(3, 3)
    other.page.close()
    learn.tab_to(learn.lesson.get_by_role("button", name="Finish"))
    app.press("Enter")
    expect(learn.starter(ONE_UPDATE)).to_be_focused()
    expect(panel.root).to_be_hidden()
    expect(learn.lesson).to_be_hidden()
    app.expect_address(whatif=None)
