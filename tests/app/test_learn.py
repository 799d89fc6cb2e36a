"""The Learn tab in a real browser: a lesson by keyboard alone, as a link, and in class mode."""

import json

import pytest

pytestmark = pytest.mark.browser

READY = "window.ActFocus && ActFocus.trace && ActFocus.trace.state.painted && ActFocus.learn.state.lessons.length === 8"


def opened(page, studio, query="run=plain"):
    page.goto(f"{studio}/?{query}")
    page.wait_for_function(READY)
    return page


def place(page, name):
    return page.evaluate(f"ActFocus.store.place[{json.dumps(name)}]")


def focus(page) -> str:
    return page.evaluate("document.activeElement.textContent || document.activeElement.value || document.activeElement.type")


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
    share = page.evaluate("(() => { const k = ActFocus.trace.state.model.batch.kinds; "
                          "return 100 * k.action.n / (k.action.n + k.reasoning.n + k.format.n); })()")
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
    page.wait_for_function("document.activeElement.getAttribute('aria-label') === 'Start the lesson: What uniform credit trains on'")
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
            page.goto(f"{studio}/?run=plain&lesson={lesson['name']}&lesson_step={step}") if step == 0 else \
                page.locator("#af-lesson").get_by_role("button", name="Next").click()
            page.wait_for_function(f"window.ActFocus && ActFocus.learn && ActFocus.learn.state.lesson && ActFocus.learn.state.step === {step}")
            tab = wanted["view"].get("tab", "trace")
            page.wait_for_function(f"ActFocus.store.place.tab === {json.dumps(tab)}")
            if wanted["pin"]:
                page.wait_for_function("ActFocus.store.place.token !== null")
        assert page.locator("[role=alert].error:visible").all_inner_texts() == []
