"""What a person sees and does, in a real Chromium on a real server."""

import json

import numpy as np
import pytest

from actfocus_core.analysis.diagnostics import gradient_mass
from actfocus_core.credit import signal_stats, token_weights
from actfocus_core.oracle import trajectory_values
from actfocus_core.runs import Run
from actfocus_core.signals import signal_values
from actfocus_studio.data.serialize import env_options
from actfocus_studio.pages.trace.play import play
from tests.app.sample import HOSTILE

pytestmark = pytest.mark.browser

STATE = "ActFocus.trace.state"


def opened(page, studio, query="run=plain"):
    """Open a view and wait until its tokens are painted."""
    page.goto(f"{studio}/?{query}")
    page.wait_for_function(f"window.ActFocus && ActFocus.trace && {STATE}.painted")
    return page


def place(page, name):
    return page.evaluate(f"ActFocus.store.place.{name}")


def weights(page) -> np.ndarray:
    return np.array(page.evaluate(f"Array.from({STATE}.model.weights)"))


def settings(page) -> dict:
    return page.evaluate("ActFocus.store.copy()")


def slide(page, id, value):
    """Move a native slider to a value, as a drag's last event does."""
    page.evaluate(
        """([id, value]) => {
        const range = document.querySelector(`#${id} input[type=range]`);
        range.value = value; range.dispatchEvent(new Event('input', {bubbles: true}));
    }""",
        [id, value],
    )


def type_number(page, name, value):
    """Type into a slider's number field until the slider has taken it: a form that has just
    been unfolded may still be given its first values."""
    number = page.get_by_label(f"number input for {name}")
    slider = page.get_by_label(f"range slider for {name}")
    for _ in range(40):
        number.fill(str(value))
        page.keyboard.press("Tab")
        page.wait_for_timeout(250)
        if slider.input_value() == number.input_value() == str(value):
            return
    raise AssertionError(f"{name} does not take {value}")


def shown(page) -> tuple[Run, object, object]:
    """The trajectory on the page, and its batch, as Python reads them."""
    run = Run.open(page.runs_dir / place(page, "run"))
    t = run.trajectory(place(page, "trajectory"))
    return run, t, run.trajectories(t.step)


@pytest.fixture(autouse=True)
def _folder(page, runs_dir):
    page.runs_dir = runs_dir


def test_the_page_opens_with_its_tokens(page, studio):
    """How soon, benchmarks/load.py tells."""
    opened(page, studio)
    assert page.evaluate(f"{STATE}.painted") > 0
    assert page.locator("#af-text .t").count() == page.evaluate(f"{STATE}.model.n") > 100


def test_every_token_is_there_with_its_own_text_and_kind(page, studio):
    opened(page, studio)
    _, t, _ = shown(page)
    assert page.evaluate("Array.from(document.querySelectorAll('#af-text .t'), s => s.textContent)") == t.texts
    classes = page.evaluate("Array.from(document.querySelectorAll('#af-text .t'), s => +/k(\\d)/.exec(s.className)[1])")
    assert [c if c < 6 else 5 for c in classes] == t.kinds.tolist()  # 6 is format in a malformed answer


def test_turns_are_stepped_by_button_key_and_scrubber(page, studio):
    opened(page, studio)
    last = page.evaluate(f"{STATE}.model.turns.length") - 1
    page.keyboard.press("ArrowRight")
    assert place(page, "turn") == 1
    page.get_by_role("button", name="Next turn").click()
    assert place(page, "turn") == min(2, last)
    page.get_by_role("button", name="Previous turn").click()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert place(page, "turn") == 0
    assert page.locator(".af-turn.on").get_attribute("aria-label") == "Turn 1"
    page.locator("input[type=range][aria-label*=urn]").fill(str(last))
    assert place(page, "turn") == last


def test_trajectories_are_stepped_by_key_and_chosen_by_chip_and_id(page, studio):
    opened(page, studio)
    first = place(page, "trajectory")
    page.keyboard.press("j")
    page.wait_for_function(f"ActFocus.store.place.trajectory !== {json.dumps(first)}")
    page.keyboard.press("k")
    page.wait_for_function(f"ActFocus.store.place.trajectory === {json.dumps(first)}")
    chip = page.locator(".af-chip:not(.on)").first
    name = chip.get_attribute("title").split(":")[0]
    chip.click()
    page.wait_for_function(f"ActFocus.store.place.trajectory === {json.dumps(name)}")
    page.get_by_label("Go to a trajectory by its id").fill("no such thing")
    page.keyboard.press("Enter")
    page.get_by_text("There is no trajectory").wait_for()


def test_weights_in_the_page_are_those_of_python(page, studio):
    opened(page, studio)
    for signal in ("energy", "entropy", "nll", "shift"):
        page.evaluate(f"ActFocus.store.set({{signal: '{signal}', alpha: 0.35, beta: 1.25}}, true)")
        _, t, batch = shown(page)
        kinds = np.concatenate([b.kinds for b in batch])
        stats = signal_stats(kinds, np.concatenate([signal_values(b, signal) for b in batch]))
        expected = token_weights(t.kinds, signal_values(t, signal), 0.35, 1.25, stats=stats)
        np.testing.assert_allclose(weights(page), expected, atol=1e-6)


def test_moving_alpha_moves_weights_mass_and_sentence(page, studio):
    opened(page, studio)
    sentence = page.locator(".af-mass").first.inner_text()
    slide(page, "af-alpha", 0.6)
    page.wait_for_function("ActFocus.store.settings.alpha === 0.6")
    _, t, batch = shown(page)
    kinds = np.concatenate([b.kinds for b in batch])
    all_weights = token_weights(kinds, np.concatenate([signal_values(b, "energy") for b in batch]), 0.6, 0.5)
    share = gradient_mass(kinds, all_weights)["kinds"]["action"]["mass_share"]
    mass = page.evaluate(f"{STATE}.model.mass")
    assert mass["mass"]["action"] / mass["total"] == pytest.approx(share, abs=1e-6)
    page.wait_for_function("before => document.querySelector('.af-mass').innerText !== before", arg=sentence)
    assert f"{100 * share:.0f} %" in page.locator(".af-mass").first.inner_text().replace("\u202f", " ").replace(
        "\xa0", " "
    )
    assert page.locator("#af-preset input:checked").get_attribute("value") == "custom"


def test_presets_set_the_sliders(page, studio):
    opened(page, studio)
    for label, pair in (
        ("Uniform", (1, 0)),
        ("Role only", (0.1, 0)),
        ("Energy only", (1, 0.5)),
        ("ActFocus", (0.1, 0.5)),
    ):
        page.locator("#af-preset").get_by_text(label, exact=True).click()
        page.wait_for_function(
            "p => ActFocus.store.settings.alpha === p[0] && ActFocus.store.settings.beta === p[1]", arg=list(pair)
        )
        values = [float(page.locator(f"#{id} input[type=range]").input_value()) for id in ("af-alpha", "af-beta")]
        assert values == list(pair)
    assert (weights(page)[0], weights(page).max() > 1) == (0, True)


RECOLOUR = """async () => {
  const range = document.querySelector('#af-alpha input[type=range]');
  const span = ActFocus.trace.state.text.spans[ActFocus.trace.state.model.kinds.indexOf(3)];
  const counts = [];
  for (let k = 0; k < 14; k++) {
    let frames = 0, over = false;
    const count = () => { frames += 1; if (!over) requestAnimationFrame(count); };
    requestAnimationFrame(count);
    const written = new Promise((done) => new MutationObserver((_, seen) => {
      seen.disconnect();
      over = true;
      done(frames);
    }).observe(span, { attributes: true, attributeFilter: ['style'] }));
    range.value = 0.05 + 0.06 * k;
    range.dispatchEvent(new Event('input', { bubbles: true }));
    counts.push(await written);
    // Not in step with the frames: an event comes at any moment of one.
    await new Promise((rest) => setTimeout(rest, 117 + 5 * k));
  }
  return counts;
}"""


def test_alpha_recolours_four_thousand_tokens_within_two_frames(page, studio):
    """From the slider's event to the frame that paints them; how many milliseconds that takes, benchmarks/load.py tells."""
    index = Run.open(page.runs_dir / "long").index()
    opened(page, studio, f"run=long&trajectory={index[index.n_tokens >= 4000].iloc[0].id}")
    assert 4000 <= page.evaluate(f"{STATE}.model.n") < 6000
    page.wait_for_selector(".js-plotly-plot")
    counts = page.evaluate(RECOLOUR)
    assert len(counts) == 14 and max(counts) <= 2, counts
    # Moved last, the rest of them follows.
    page.wait_for_timeout(500)
    # Every token, in sight or not, has the colour of its weight.
    colours = page.evaluate(
        f"{STATE}.model.kinds.map((k, i) => k === 3 ? {STATE}.text.spans[i].style.backgroundColor : null)"
    )
    assert len(set(colours) - {None}) == 1


def test_a_slider_asks_the_server_nothing(page, studio):
    opened(page, studio)
    page.wait_for_timeout(500)
    before = len(page.asked)
    for value in (0.2, 0.4, 0.6):
        slide(page, "af-alpha", value)
        slide(page, "af-beta", value)
    page.wait_for_timeout(300)
    assert page.asked[before:] == []


def test_the_address_restores_the_view(page, studio):
    opened(page, studio)
    page.keyboard.press("j")
    page.wait_for_timeout(400)
    page.evaluate("ActFocus.store.set({alpha: 0.42, beta: 1.1, signal: 'nll', scope: 'group', adv: true}, true)")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("3")
    page.keyboard.press("]")
    page.wait_for_function("location.search.includes('alpha=0.42') && location.search.includes('token=')")
    seen = settings(page), page.evaluate("ActFocus.store.place"), weights(page)
    url = page.url
    page.goto("about:blank")
    page.goto(url)
    page.wait_for_function(f"window.ActFocus && ActFocus.trace && {STATE}.painted")
    assert (settings(page), page.evaluate("ActFocus.store.place")) == seen[:2]
    np.testing.assert_array_equal(weights(page), seen[2])
    assert float(page.locator("#af-alpha input[type=range]").input_value()) == 0.42
    assert page.locator(".t.pin").count() == 1


@pytest.mark.parametrize(
    "query",
    [
        "alpha=nan&beta=1e999&signal=zzz&turn=abc&token=-4&scope=<img>&color=x&adv=maybe",
        "run=<img src=x onerror=window.__pwn=1>",
        "run=../../etc/passwd",
        "trajectory=${window.__pwn=1}",
        "token=99999999&turn=99999999&step=99999999",
    ],
)
def test_a_hostile_address_gives_a_valid_view(page, studio, query):
    opened(page, studio, query)
    values = settings(page)
    assert 0 <= values["alpha"] <= 1 and 0 <= values["beta"] <= 2 and values["signal"] == "energy"
    assert page.evaluate("window.__pwn") is None
    assert np.isfinite(weights(page)).all()


def test_the_text_of_tokens_stays_text(page, studio):
    opened(page, studio, "run=hostile")
    for key in ("2", "3", "4", "5", "6", "1", "t", "]", "]", "t"):
        page.keyboard.press(key)
    for text in HOSTILE:
        index = page.evaluate(f"t => {STATE}.model.text.indexOf(t)", text)
        page.evaluate(f"i => {STATE}.text.spans[i].click()", index)
        assert page.evaluate(f"i => {STATE}.text.spans[i].textContent", index) == text
        assert page.locator(".af-inspector").inner_text()
    page.wait_for_timeout(500)
    assert page.evaluate("window.__pwn") is None
    assert (
        page.locator("#af-text img, #af-text script, #af-text b:not(.af-turn-head b), .af-inspector img").count() == 0
    )
    assert not [url for url in page.asked if url.endswith("/x")]


def test_the_pinned_token_shows_its_numbers(page, studio):
    opened(page, studio)
    _, t, batch = shown(page)
    i = int(np.flatnonzero(t.kinds == 4)[0])
    page.evaluate(f"i => {STATE}.text.spans[i].click()", i)
    told = page.locator(".af-inspector").inner_text().replace("\u2212", "-")
    kinds = np.concatenate([b.kinds for b in batch])
    energies = np.concatenate([signal_values(b, "energy") for b in batch])
    stats = signal_stats(kinds, energies)
    w = token_weights(t.kinds, signal_values(t, "energy"), 0.1, 0.5, stats=stats)[i]
    for number in (t.token_ids[i], f"{signal_values(t, 'energy')[i]:.3f}", f"{w:.3f}", f"{t.logprobs[i]:.3f}"):
        assert str(number) in told, (number, told)
    assert page.locator("[aria-live=polite]").first.text_content() or page.locator(".af-spoken").text_content()


def test_what_was_not_recorded_is_unavailable_and_never_zero(page, studio):
    opened(page, studio, "run=unscored")
    assert "unavailable" in page.locator("#af-topbar").inner_text()
    _, t, _ = shown(page)
    i = int(np.flatnonzero(t.kinds == 4)[0])
    page.evaluate(f"i => {STATE}.text.spans[i].click()", i)
    told = page.locator(".af-inspector").inner_text()
    assert told.count("unavailable") >= 3
    page.locator("#af-preset").get_by_text("Role only", exact=True).click()
    page.wait_for_function("ActFocus.store.settings.beta === 0")
    assert weights(page)[i] == 1


def test_a_broken_run_is_one_line_in_the_page(page, studio):
    opened(page, studio)
    page.evaluate("ActFocus.go({run: 'broken'})")
    alert = page.locator(".af-alert.error:visible")
    alert.wait_for()
    assert "not readable JSON" in alert.inner_text()
    page.get_by_role("button", name="Close").first.click()
    page.keyboard.press("ArrowRight")
    assert place(page, "turn") == 1


def test_a_and_b_are_swapped(page, studio):
    opened(page, studio)
    page.get_by_role("button", name="Keep as B").click()
    page.locator("#af-preset").get_by_text("Uniform", exact=True).click()
    page.wait_for_function("ActFocus.store.settings.alpha === 1")
    page.locator("#af-text").hover()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("b")
    page.wait_for_function("ActFocus.store.settings.alpha === 0.1 && ActFocus.store.settings.beta === 0.5")
    page.keyboard.press("b")
    page.wait_for_function("ActFocus.store.settings.alpha === 1 && ActFocus.store.settings.beta === 0")


def test_keys_are_off_while_typing(page, studio):
    opened(page, studio)
    page.keyboard.press("/")
    page.keyboard.type("left 2")
    assert page.locator(".af-search").input_value() == "left 2"
    assert (place(page, "turn"), place(page, "color")) == (0, "weight")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    assert place(page, "color") == "kind"


def test_one_tab_stop_and_arrows_within_the_text(page, studio):
    opened(page, studio)
    assert page.locator("#af-text .t[tabindex='0']").count() == 1
    page.locator("#af-text .t[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    first = place(page, "token")
    assert first is not None and place(page, "turn") == 0
    assert page.locator("#af-text .t[tabindex='0']").count() == 1
    page.keyboard.press("Escape")
    assert place(page, "token") is None


def test_theme_table_and_help(page, studio):
    opened(page, studio)
    page.get_by_role("button", name="Light or dark").click()
    assert page.evaluate("document.body.classList.contains('dark')")
    page.keyboard.press("t")
    rows = page.locator(".af-table tbody tr").count() or page.locator("table tbody tr").count()
    assert rows >= 20
    page.keyboard.press("t")
    page.keyboard.press("?")
    assert page.locator("dialog.af-help[open]").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("dialog.af-help[open]").count() == 0


def test_the_line_below_is_drawn_and_pins_what_is_clicked(page, studio):
    opened(page, studio)
    page.wait_for_selector(".af-line .js-plotly-plot, .js-plotly-plot", timeout=20_000)
    page.keyboard.press("]")
    page.wait_for_timeout(300)
    drawn = page.evaluate("document.querySelector('.js-plotly-plot').data.map(trace => trace.y.length)")
    assert drawn and max(drawn) >= page.evaluate(f"{STATE}.model.n")


def test_two_pages_do_not_see_each_others_view(page, studio, chromium):
    opened(page, studio)
    other = chromium.new_context().new_page()
    opened(other, studio, "run=plain&alpha=0.9")
    other.keyboard.press("j")
    other.wait_for_timeout(300)
    assert settings(page)["alpha"] == 0.1 and place(page, "trajectory") != place(other, "trajectory")
    other.context.close()


@pytest.mark.parametrize("width", [420, 800, 1024])
def test_nothing_runs_off_a_narrow_page(page, studio, width):
    page.set_viewport_size({"width": width, "height": 900})
    opened(page, studio)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    # Nor does the bar, which does not scroll: run, link, theme and help are in sight, and no tab lies over them.
    box = "(node) => { const { left, right } = node.getBoundingClientRect(); return [left, right]; }"
    ends = [node.evaluate(box) for node in page.locator(".af-bar :is(select, button):visible").all()]
    tabs = page.locator("#af-tabs > .tab-wrapper").evaluate(box)
    assert len(ends) == 5 and max(right for _, right in ends) <= width and min(left for left, _ in ends) >= tabs[1] - 10


def test_new_rollouts_of_the_embedded_policy_are_made_and_opened(page, studio, runs_dir):
    opened(page, studio)
    before = {p.name for p in runs_dir.iterdir()}
    page.get_by_text("New rollouts").click()
    for name, value in (("Prompts", 2), ("Rollouts of each", 3)):
        type_number(page, name, value)
    page.locator("#af-roll").click()
    page.locator(".af-progress").wait_for(timeout=60_000)
    page.wait_for_function("old => !old.includes(ActFocus.store.place.run)", arg=sorted(before), timeout=120_000)
    run = Run.open(runs_dir / place(page, "run"))
    assert len(run.index()) == 6 and run.references() == ["tiny"]
    _, t, _ = shown(page)
    assert page.evaluate("Array.from(document.querySelectorAll('#af-text .t'), s => s.textContent)") == t.texts


# --- the oracle, and taking over ------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "scripted-sokoban", "scripted-sudoku", "scripted-webshop"])
def test_every_action_shows_what_it_cost(page, studio, name):
    opened(page, studio, f"run={name}")
    run, t, _ = shown(page)
    words = []
    for turn in trajectory_values(t, env_options(run)):
        for i, cost in enumerate(turn.costs):
            words.append(
                f"point of no return, cost {cost:.2f}"
                if turn.lost == i
                else "optimal"
                if cost < 0.005
                else f"cost {cost:.2f}"
            )
    seen = page.evaluate(
        "Array.from(document.querySelectorAll('.af-turn-head .af-acts + .af-verdict'), n => n.textContent)"
    )
    assert seen == words and words
    assert page.locator(".af-picture img, .af-picture .af-shop").count() == 1


def test_a_person_plays_sokoban_by_key_and_by_typing(page, studio):
    opened(page, studio, "run=scripted-sokoban")
    run, t, _ = shown(page)
    page.keyboard.press("p")
    page.locator(".af-play-note").get_by_text("actions left").wait_for()
    assert not page.locator("#af-text").is_visible()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    page.locator(".af-play-log li").first.wait_for()
    first = play(run, t.id, 0, [["Up", "Left"]])
    assert page.locator(".af-play-log .af-acts").all_text_contents() == ["Up", "Left"]
    page.get_by_label("Your answer").fill("<img src=x onerror=window.__pwn=9> || sideways")
    page.get_by_role("button", name="Answer", exact=True).click()
    page.get_by_text("not understood").wait_for()
    assert page.evaluate("window.__pwn") is None
    page.get_by_role("button", name="Undo").click()
    page.wait_for_function("document.querySelectorAll('.af-play-log li').length === 1")
    picture = page.evaluate("decodeURIComponent(document.querySelector('.af-play-stage img').src)")
    assert picture.endswith(first["now"]["picture"])
    page.get_by_role("button", name="Back to the trajectory").click()
    assert page.locator("#af-text").is_visible() and not page.locator(".af-play").is_visible()


def test_a_person_shops_by_clicking_and_is_told_the_costs(page, studio):
    opened(page, studio, "run=scripted-webshop")
    run, t, _ = shown(page)
    page.get_by_role("button", name="Play from here").click()
    box = page.get_by_label("Your answer")
    box.fill("search[shirt]")
    box.press("Enter")
    page.locator(".af-play .af-shop-list button").first.click()
    buy = page.locator(".af-play .af-shop button", has_text="buy now")
    buy.wait_for()
    page.get_by_label("Show what each choice costs").check()
    page.locator(".af-play .af-shop .af-verdict").first.wait_for()
    moves = page.evaluate(f"{STATE}.game.moves")
    costs = play(run, t.id, 0, moves)["now"]["costs"]
    told = buy.locator(".af-verdict").text_content()
    assert told == ("optimal" if costs["click[buy now]"] < 0.005 else f"cost {costs['click[buy now]']:.2f}")
    buy.click()
    page.locator(".af-play-note").get_by_text("Over").or_(page.locator(".af-play-note").get_by_text("Goal")).wait_for()
    assert page.get_by_label("Your answer").is_disabled()


def test_a_page_at_rest_asks_for_no_frames(page, studio):
    page.add_init_script(
        "window.asked = 0; const frame = window.requestAnimationFrame;"
        "window.requestAnimationFrame = (then) => { window.asked += 1; return frame(then); };"
    )
    opened(page, studio)
    assert page.evaluate("asked") > 0
    page.wait_for_function(
        "() => new Promise((done) => { const before = asked; setTimeout(() => done(asked === before), 1000); })",
        polling=500,
    )


def test_of_quick_steps_the_last_one_counts_and_a_studio_that_is_gone_is_told(page, studio):
    opened(page, studio)
    ids = page.evaluate(f"{STATE}.model.data.place.members.map((m) => m.id)")
    page.evaluate("(ids) => ids.forEach((trajectory) => ActFocus.go({ run: 'plain', trajectory }))", ids)
    page.wait_for_function(f"(id) => {STATE}.model.data.place.id === id", arg=ids[-1])
    # Those in between were never sent.
    assert (
        page.evaluate("performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/run/predict')).length")
        < len(ids) + 4
    )
    page.route("**/run/predict", lambda route: route.abort())
    # A page may still reach the server for a moment.
    page.wait_for_function(
        "() => fetch('gradio_api/run/predict', { method: 'POST' }).then(() => false, () => true)", polling=50
    )
    page.keyboard.press("k")
    page.wait_for_function("document.querySelector('.af-trace > .af-alert').textContent.includes('did not answer')")
    assert place(page, "trajectory") == ids[-1]
    page.unroute("**/run/predict")
    page.keyboard.press("k")
    page.wait_for_function(f"(id) => {STATE}.model.data.place.id !== id", arg=ids[-1])
    assert page.locator(".af-trace > .af-alert").is_hidden()
