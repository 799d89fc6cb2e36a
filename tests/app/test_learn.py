"""The Learn tab in a real browser: a lesson by keyboard alone, as a link, and in class mode."""

import json
import shutil

import numpy as np
import pytest

from actfocus_core.counterfactual import store as whatif
from actfocus_core.credit import token_weights
from actfocus_core.paths import assets
from actfocus_core.runs import Run

pytestmark = pytest.mark.browser

READY = "window.ActFocus && ActFocus.trace && ActFocus.trace.state.painted && ActFocus.learn.state.lessons.length === 8"

MOTION = "window.ActFocus && ActFocus.whatif && ActFocus.whatif.state.motion"
PATIENCE = 180_000


def opened(page, studio, query="run=plain"):
    page.goto(f"{studio}/?{query}")
    page.wait_for_function(READY)
    return page


def place(page, name):
    return page.evaluate(f"ActFocus.store.place[{json.dumps(name)}]")


def focus(page) -> str:
    return page.evaluate(
        "document.activeElement.textContent || document.activeElement.value || document.activeElement.type"
    )


def test_a_lesson_by_keyboard_alone(page, studio):
    opened(page, studio, "run=plain&tab=learn")
    starts = page.get_by_role("button", name="Start the lesson:")
    assert starts.count() == 8
    page.get_by_role("button", name="Start the lesson: What uniform credit trains on").focus()
    page.keyboard.press("Enter")
    # The real tabs are in the lesson's state, and the focus is in the lesson.
    page.wait_for_function("ActFocus.store.settings.alpha === 1 && ActFocus.store.settings.beta === 0")
    panel = page.get_by_role("region", name="Lesson: What uniform credit trains on")
    assert place(page, "tab") == "trace" and focus(page) == "What uniform credit trains on"
    share = page.evaluate(
        "(() => { const k = ActFocus.trace.state.model.batch.kinds; "
        "return 100 * k.action.n / (k.action.n + k.reasoning.n + k.format.n); })()"
    )
    turn = place(page, "turn")
    assert page.locator(".af-mass").is_hidden()  # it would give the answer away
    for _ in range(9):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.type") == "number":
            break
    page.keyboard.type(f"{share + 1:.1f}")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    reveal = panel.locator(".af-lesson-reveal")
    reveal.get_by_text("As you expected.").wait_for()
    assert page.locator(".af-mass").is_visible()
    assert f"{share:.1f} %" in reveal.text_content() and place(page, "turn") == turn
    # On to the next step, whose answer is a choice.
    panel.get_by_role("button", name="Next").press("Enter")
    page.wait_for_function("ActFocus.store.settings.alpha === 0.1 && ActFocus.store.settings.beta === 0.5")
    assert panel.get_by_text("step 2 of 2").is_visible()
    panel.get_by_role("radio").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    reveal.get_by_text("expected.").wait_for()
    assert panel.locator(".af-right").count() == 1
    # The sidebar's own controls followed.
    assert page.locator("#af-preset input[value=actfocus]").is_checked()
    panel.get_by_role("button", name="Finish").press("Enter")
    panel.wait_for(state="hidden")
    page.wait_for_function(
        "document.activeElement.getAttribute('aria-label') === 'Start the lesson: What uniform credit trains on'"
    )
    assert place(page, "tab") == "learn"


def test_a_lesson_is_a_link_and_class_mode_hides_the_controls(page, studio):
    opened(page, studio, "run=plain&lesson=a-turn&lesson_step=1&classroom=1")
    panel = page.get_by_role("region", name="Lesson: What a turn is")
    panel.get_by_text("step 2 of 3").wait_for()
    page.wait_for_function("ActFocus.store.place.token !== null && ActFocus.store.place.color === 'kind'")
    assert page.evaluate("ActFocus.trace.state.model.kinds[ActFocus.store.place.token]") == 4
    assert page.locator(".sidebar").is_hidden() and page.locator("#af-drawer-button").is_hidden()
    address = page.evaluate("ActFocus.store.address()")
    assert "lesson=a-turn" in address and "lesson_step=1" in address and "classroom=1" in address
    panel.get_by_role("button", name="Leave the lesson").click()
    page.get_by_label("Class mode").uncheck()
    assert page.locator(".sidebar").is_visible() and "lesson=" not in page.evaluate("ActFocus.store.address()")


def test_a_lesson_that_is_not_there_is_one_line(page, studio):
    opened(page, studio, "run=plain&lesson=%3Cimg%20src%3Dx%3E")
    page.get_by_role("alert").get_by_text("There is no lesson “<img src=x>” here").wait_for()
    assert place(page, "tab") == "learn" and place(page, "lesson") == ""


def test_every_lesson_drives_the_tabs_without_an_error(page, studio):
    opened(page, studio, "run=plain&tab=learn")
    for lesson in page.evaluate("ActFocus.learn.state.lessons"):
        for step, wanted in enumerate(lesson["steps"]):
            page.goto(f"{studio}/?run=plain&lesson={lesson['name']}&lesson_step={step}") if step == 0 else page.locator(
                "#af-lesson"
            ).get_by_role("button", name="Next").click()
            page.wait_for_function(
                f"window.ActFocus && ActFocus.learn && ActFocus.learn.state.lesson && ActFocus.learn.state.step === {step}"
            )
            tab = wanted["view"].get("tab", "trace")
            page.wait_for_function(f"ActFocus.store.place.tab === {json.dumps(tab)}")
            if wanted["pin"]:
                page.wait_for_function("ActFocus.store.place.token !== null")
        assert page.locator("[role=alert].error:visible").all_inner_texts() == []


@pytest.fixture(scope="module")
def sampled(runs_dir):
    """A run whose policy is here: an update on it can be taken."""
    shutil.copytree(assets() / "runs" / "frozen-lake", runs_dir / "sampled", ignore=shutil.ignore_patterns("whatif"))
    return Run.open(runs_dir / "sampled")


def tab_to(page, what):
    """Press Tab until this is in focus."""
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate(f"document.activeElement.matches({json.dumps(what)})"):
            return
    raise AssertionError(f"{what} is not reached by Tab")


def test_the_lesson_on_one_update_drives_its_slow_motion_by_keyboard(page, studio, sampled):
    page.set_default_timeout(PATIENCE)
    page.emulate_media(reduced_motion="reduce")
    opened(page, studio, "run=sampled&tab=learn")
    page.get_by_role("button", name="Start the lesson: One update in slow motion").focus()
    page.keyboard.press("Enter")
    panel = page.get_by_role("region", name="Lesson: One update in slow motion")
    motion, reveal = page.get_by_role("dialog", name="What if"), panel.locator(".af-lesson-reveal")

    def answer():
        tab_to(page, "#af-lesson input[type=radio]")
        page.keyboard.press("Space")
        page.keyboard.press("Enter")
        reveal.get_by_text("expected.").wait_for()
        return reveal.text_content()

    def follow(button, step):
        tab_to(page, "#af-lesson .af-lesson-foot .primary")
        assert focus(page) == button
        page.keyboard.press("Enter")
        panel.get_by_text(f"step {step} of 3").wait_for()

    answer()
    assert motion.is_hidden()
    follow("Next", 2)
    # The motion stands at the lesson's stage, on the game that failed; the focus has stayed in the lesson.
    page.wait_for_function(f"{MOTION} && ActFocus.whatif.state.motion.stage === 5")
    # Its group is answered first; with the rest the answer is kept.
    page.wait_for_function("ActFocus.whatif.state.state.state === 'done'")
    id = place(page, "trajectory")
    t, what = sampled.trajectory(id), whatif.load(sampled, place(page, "whatif"))
    mine = next(other for other in what.trajectories if other.id == id)
    assert not t.success and "6. Weights." in motion.text_content() and focus(page) == "One update in slow motion"
    first = int(np.flatnonzero(t.kinds == 4)[0])
    assert f"w = {mine.signals['weight:actfocus'][first]:.3f}" in motion.locator(".af-chain").text_content()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("ActFocus.whatif.state.motion.stage === 6")
    batch = sampled.trajectories(0, "tiny")
    kinds = np.concatenate([t.kinds for t in batch])
    weights = token_weights(kinds, np.concatenate([t.signals["ref_energy"] for t in batch]), 0.1, 0.5)
    assert (
        f"{100 * weights[kinds == 3].sum() / weights[np.isin(kinds, (3, 4, 5))].sum():.1f} % of the weight" in answer()
    )
    follow("Next", 3)
    page.wait_for_function(f"{MOTION} && ActFocus.whatif.state.motion.stage === 8")
    assert place(page, "trajectory") == id
    change = mine.signals["logprob_after:actfocus"] - mine.signals["logprob_before"]
    said, moved = answer(), change[t.kinds == 4].mean()
    for kind in (4, 3):
        assert f"by {change[t.kinds == kind].mean():.4f}".replace("-", "\u2212") in said
    against = change[t.response_mask] * mine.signals["advantage:actfocus"][t.response_mask] < 0
    assert f"{100 * against.mean():.0f} % of its tokens" in said
    assert panel.locator(".af-check.right").text_content().startswith("yes" if moved < 0 else "no")
    # The lesson is a link to the motion, and leaves nothing open behind it.
    address = page.evaluate("ActFocus.store.address()")
    follow_back = page.context.new_page()
    follow_back.set_default_timeout(PATIENCE)
    follow_back.goto(address)
    follow_back.wait_for_function(
        f"{MOTION} && ActFocus.whatif.state.motion.stage === 8 && ActFocus.learn.state.step === 2"
    )
    follow_back.close()
    tab_to(page, "#af-lesson .af-lesson-foot .primary")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "document.activeElement.getAttribute('aria-label') === 'Start the lesson: One update in slow motion'"
    )
    assert motion.is_hidden() and panel.is_hidden() and "whatif=" not in page.evaluate("ActFocus.store.address()")
