"""The Tune page: its maps are NumPy's sums over all tokens, its texts run."""

import json

import numpy as np
import pytest

from actfocus_core.analysis.diagnostics import gradient_mass
from actfocus_core.credit import Batch, get_scheme, signal_stats, token_weights
from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_core.signals import SIGNALS, signal_values
from actfocus_studio.data.batch_cache import BatchCache
from actfocus_studio.data.cache import LruCache
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.pages.tune import page as tune
from actfocus_studio.pages.tune.distribution import BINS, QUANTILES, distributions
from actfocus_studio.shell.requests import answer
from tests.app.sample import make_run

STATE = "ActFocus.tune.state"


class Shared:
    """What the page needs of a studio."""

    def __init__(self, runs_dir):
        self.catalog, self.batches = Catalog([], runs_dir), BatchCache()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("tune") / "run", prompts=4, rollouts=4, steps=2)


def told(run, **request) -> dict:
    studio = Shared(run.path.parent)
    return json.loads(
        answer(json.dumps({"number": 1, "run": run.name, **request}), lambda one: tune.handle(studio, LruCache(), one))
    )


# --- in Python ----------------------------------------------------------------------------------


def test_a_distribution_is_that_of_the_tokens(run):
    batch = run.trajectories(1)
    kinds = np.concatenate([t.kinds for t in batch])
    for name, found in distributions(batch).items():
        values = np.concatenate([signal_values(t, name) for t in batch]).astype(np.float64)
        low, high = np.percentile(values[kinds >= 3], [0.5, 99.5])
        assert (found["edges"][0], found["edges"][-1], len(found["edges"])) == (low, high, BINS + 1)
        for code, kind in ((3, "reasoning"), (4, "action"), (5, "format")):
            own, x = found["kinds"][kind], values[kinds == code]
            assert (own["n"], own["lack"]) == (len(x), 0)
            assert sum(own["counts"]) == ((x >= low) & (x <= high)).sum()
            assert own["mean"] == pytest.approx(x.mean()) and own["std"] == pytest.approx(x.std())
            assert own["quantiles"] == pytest.approx(np.quantile(x, QUANTILES).tolist())


def test_what_was_not_recorded_or_does_not_vary(run):
    batch = run.trajectories(0)
    for t in batch:
        t.signals["ref_entropy"] = np.full(len(t), np.nan, np.float32)
        t.signals["ref_energy"] = np.where(t.kinds >= 3, -13, np.nan).astype(np.float32)
        t.signals["ref_energy"][np.flatnonzero(t.kinds == 4)[:1]] = np.nan
    found = distributions(batch)
    assert found["entropy"] is None
    lacking = sum((t.kinds == 4).any() for t in batch)
    assert (
        found["energy"]["kinds"]["action"]["lack"] == lacking
        and found["energy"]["edges"][0] < -13 < found["energy"]["edges"][-1]
    )
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 9000,
        '{"number":1}',
        '{"number":1,"op":"batch","run":"frozen-lake"}',
        '{"number":1,"op":"rm","run":"frozen-lake"}',
        '{"number":1,"op":"batch","run":"frozen-lake","step":9,"trajectory":"x"}',
        '{"number":1,"op":"batch","run":"../..","step":0}',
        '{"number":1,"op":"batch","run":"frozen-lake","step":0,"trajectory":["x"]}',
        '{"number":1,"op":"export","run":"<img>"}',
    ],
)
def test_a_bad_request_gives_one_clear_line(text, tmp_path):
    got = json.loads(answer(text, lambda one: tune.handle(Shared(tmp_path), LruCache(), one)))
    assert set(got) == {"error", "number"} and got["error"] and "\n" not in got["error"]


def test_a_trajectory_of_another_step_is_refused(run):
    other = run.index().query("step == 1").iloc[0]["id"]
    assert "is not of step 0" in told(run, op="batch", step=0, trajectory=other)["error"]
    assert set(told(run, op="batch", step=1, trajectory=other)["batch"]["distributions"]) == set(SIGNALS)


def test_what_the_page_asks_to_write_down_is_clamped(run):
    texts = told(run, op="export", alpha="nan", beta=1e9, signal="__import__('os')")["texts"]
    assert "{'alpha': 0.1, 'beta': 2.0, 'signal': 'energy'}" in texts["python"]["text"]
    assert texts["python"]["installed"] and texts["python"]["needs"] == ""


# --- in a browser -------------------------------------------------------------------------------


browser = pytest.mark.browser


def opened(page, studio, query="run=frozen-lake"):
    page.set_default_timeout(90_000)  # Nothing is asserted about seconds: a busy machine is no failure.
    page.goto(f"{studio}/?tab=tune&{query}")
    page.wait_for_function(
        f"window.ActFocus && ActFocus.tune && {STATE}.data && document.querySelectorAll('.af-tune .js-plotly-plot').length === 3"
    )
    return page


def tokens(name="frozen-lake"):
    batch = Run.open(assets() / "runs" / name).trajectories(0)
    return batch, np.concatenate([t.kinds for t in batch])


@browser
def test_the_map_is_numpy_s_and_a_click_sets_the_sliders(page, studio):
    opened(page, studio)
    batch, kinds = tokens()
    for signal in ("energy", "shift"):
        page.evaluate(f"ActFocus.store.set({{signal: '{signal}'}}, true)")
        values = np.concatenate([signal_values(t, signal) for t in batch])
        found = page.evaluate("ActFocus.tune.map()")
        for j, beta in list(enumerate(found["betas"]))[::10]:
            for i, alpha in list(enumerate(found["alphas"]))[::10]:
                mass = gradient_mass(kinds, token_weights(kinds, values, alpha, beta))
                assert found["share"][j][i] == pytest.approx(mass["kinds"]["action"]["mass_share"], abs=1e-6)
                assert found["spread"][j][i] == pytest.approx(mass["effective_tokens"] / mass["tokens"], abs=1e-6)
    # With |A| under the sums, and mu and sigma within each group.
    page.evaluate("ActFocus.store.set({signal: 'energy', adv: true, scope: 'group'}, true)")
    index = Batch.of(batch)
    weight = np.concatenate(
        [
            token_weights(
                t.kinds,
                signal_values(t, "energy"),
                0.2,
                1.5,
                stats=signal_stats(
                    np.concatenate([m.kinds for m in batch if m.group == t.group]),
                    np.concatenate([signal_values(m, "energy") for m in batch if m.group == t.group]),
                ),
            )
            for t in batch
        ]
    )
    mass = gradient_mass(kinds, weight, index.grpo())
    found = page.evaluate("ActFocus.tune.at(0.2, 1.5)")
    assert found["share"] == pytest.approx(mass["kinds"]["action"]["mass_share"], abs=1e-6)
    assert found["effective"] == pytest.approx(mass["effective_tokens"], rel=1e-5)
    page.evaluate("ActFocus.store.set({adv: false, scope: 'batch'}, true)")
    # The place under the pointer becomes the setting, in the sliders and on the map.
    plot = page.locator(".af-tune .af-chart-plot").first
    plot.scroll_into_view_if_needed()
    x, y = (
        page.evaluate("""() => { const e = document.querySelector('.af-tune .af-chart-plot'), f = e._fullLayout, r = e.querySelector('.nsewdrag').getBoundingClientRect();
        return [r.x + f.xaxis.l2p(0.6), r.y + f.yaxis.l2p(1.25)]; }""")
    )
    page.mouse.move(x - 9, y + 9)
    page.mouse.move(x, y)
    page.wait_for_timeout(300)  # the chart looks up what is under the pointer a moment after it moved
    page.mouse.click(x, y)
    page.wait_for_function("ActFocus.store.settings.alpha === 0.6 && ActFocus.store.settings.beta === 1.25")
    for id, value in (("af-alpha", 0.6), ("af-beta", 1.25)):
        page.wait_for_function(f"+document.querySelector('#{id} input[type=range]').value === {value}")
    page.wait_for_function(
        "(() => { const d = document.querySelector('.af-tune .af-chart-plot').data.at(-1); return d.x[0] === 0.6 && d.y[0] === 1.25; })()"
    )
    share = gradient_mass(
        kinds, token_weights(kinds, np.concatenate([signal_values(t, "energy") for t in batch]), 0.6, 1.25)
    )
    assert f"{100 * share['kinds']['action']['mass_share']:.0f} %" in page.locator(".af-tune .af-lead").inner_text()
    # So does a cell of the table, by key.
    page.get_by_text("The maps as a table").click()
    page.get_by_role("button", name="alpha 0.3, beta 0.5:").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("ActFocus.store.settings.alpha === 0.3 && ActFocus.store.settings.beta === 0.5")
    assert page.evaluate("document.activeElement.dataset.place") == "0.3 0.5"


@browser
def test_the_curve_follows_the_sidebar(page, studio):
    opened(page, studio, "run=sokoban&alpha=0.4&beta=1&signal=entropy")
    batch, kinds = tokens("sokoban")
    stats = signal_stats(kinds, np.concatenate([signal_values(t, "entropy") for t in batch]))
    drawn = "document.querySelectorAll('.af-tune .af-chart-plot')[2]"
    curve = page.evaluate(f"{drawn}.data.find(d => d.name === 'weight of an action')")
    np.testing.assert_allclose(
        curve["y"], 1 + 1 / (1 + np.exp(-(np.array(curve["x"]) - stats.mean) / stats.std)), atol=1e-6
    )
    assert page.evaluate(f"{drawn}.layout.shapes[1].x0") == pytest.approx(stats.mean)
    assert [page.evaluate(f"{drawn}.layout.shapes[0].{end}") for end in ("x0", "x1")] == pytest.approx(
        [stats.mean - stats.std, stats.mean + stats.std]
    )
    counts = distributions(batch)["entropy"]["kinds"]["action"]
    np.testing.assert_allclose(
        page.evaluate(f"{drawn}.data.find(d => d.name.startsWith('action')).y"),
        np.array(counts["counts"]) / counts["n"],
    )
    page.evaluate("""() => { const range = document.querySelector('#af-beta input[type=range]');
        range.value = 0; range.dispatchEvent(new Event('input', {bubbles: true})); }""")
    page.wait_for_function(f"{drawn}.data.find(d => d.name === 'weight of an action').y.every(w => w === 1)")
    page.wait_for_function(f"{drawn}.data.find(d => d.name.startsWith('weight of reasoning')).y.every(w => w === 0.4)")
    # A reload keeps the view, and another run brings its own numbers.
    page.wait_for_function("location.search.includes('beta=0&')")
    page.reload()
    page.wait_for_function(
        f"window.ActFocus && ActFocus.tune && {STATE}.data && ActFocus.store.settings.beta === 0 && ActFocus.store.settings.signal === 'entropy'"
    )
    page.evaluate("ActFocus.go({run: 'unscored'})")
    page.locator(".af-tune").get_by_text("entropy: unavailable in this batch").wait_for()
    page.evaluate("ActFocus.store.set({beta: 0.5}, true)")
    page.get_by_text("only \u03b2 = 0 can be mapped").wait_for()
    found = page.evaluate("ActFocus.tune.map()")
    assert all(value is not None for value in found["share"][0][1:]) and {
        v for row in found["share"][1:] for v in row
    } == {None}


@pytest.mark.slow
@browser
def test_the_setting_is_written_down_and_runs(page, studio):
    opened(page, studio, "run=frozen-lake&alpha=0.25&beta=1.1&export=command")
    text = page.locator(".af-code")
    page.wait_for_function("document.querySelector('.af-code').textContent.includes('--alpha 0.25 --beta 1.1')")
    page.get_by_role("radio", name="verl").click()
    assert "policy_loss.loss_mode=actfocus" in text.inner_text()
    page.get_by_role("radio", name="Python", exact=True).click()
    page.evaluate("ActFocus.store.set({alpha: 0.3}, true)")
    page.wait_for_function("document.querySelector('.af-code').textContent.includes(\"'alpha': 0.3\")")
    scope = {}
    exec(text.text_content().replace("runs/NAME", str(assets() / "runs" / "frozen-lake")), scope)
    batch, _ = tokens()
    weight = get_scheme("actfocus").compute(Batch.of(batch), alpha=0.3, beta=1.1).weight
    np.testing.assert_array_equal(scope["weight"], weight)
    assert scope["factor"].sum() == pytest.approx((weight > 0).sum(), rel=1e-5)
    page.wait_for_function("location.search.includes('export=python')")


@browser
def test_the_page_fits_a_narrow_screen(page, studio):
    page.set_viewport_size({"width": 800, "height": 900})
    opened(page, studio, "run=plain")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 800
    page.set_viewport_size({"width": 420, "height": 900})
    page.wait_for_function("document.scrollingElement.scrollWidth <= 420")
