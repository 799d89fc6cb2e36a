"""The Tune page in a browser: its maps are NumPy's sums over all tokens, and its texts run."""

import numpy as np
import pytest
from playwright.sync_api import expect

from actfocus_core.analysis.diagnostics import gradient_mass
from actfocus_core.credit import Batch, get_scheme, signal_stats, token_weights
from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_core.signals import signal_values
from actfocus_studio.pages.tune.distribution import distributions
from tests.app.pages.tune import CURVE, SHARE, SPREAD
from tests.app.routes import values

pytestmark = pytest.mark.browser

PLACES = [(alpha, beta) for alpha in (0, 0.2, 0.4, 0.6, 0.8, 1) for beta in (0, 0.5, 1, 1.5, 2)]


def tokens(name="frozen-lake"):
    """The trajectories of a sample run, and the kinds of all their tokens."""
    batch = Run.open(assets() / "runs" / name).trajectories(0)
    return batch, np.concatenate([t.kinds for t in batch])


def shares(masses: dict) -> tuple[dict, dict]:
    """(alpha, beta) -> share of weight on actions, and effective tokens as a share of all."""
    return (
        {at: mass["kinds"]["action"]["mass_share"] for at, mass in masses.items()},
        {at: mass["effective_tokens"] / mass["tokens"] for at, mass in masses.items()},
    )


@pytest.mark.parametrize("signal", ["energy", "shift"])
def test_the_maps_are_numpy_s(app, signal):
    app.open(f"run=frozen-lake&tab=tune&signal={signal}")
    batch, kinds = tokens()
    values = np.concatenate([signal_values(t, signal) for t in batch])
    masses = {at: gradient_mass(kinds, token_weights(kinds, values, *at)) for at in PLACES}
    for chart, wanted in zip((SHARE, SPREAD), shares(masses)):
        app.tune.expect_map(chart, wanted)


@pytest.mark.parametrize("tab", ["tune", "groups"])
def test_charts_have_the_colours_of_the_style_sheet(app, tab):
    app.open(f"run=frozen-lake&tab={tab}")
    for chart in getattr(app, tab).charts().all():
        drawn = chart.evaluate("node => JSON.stringify([node.data, node.layout])")
        assert "var(" not in drawn and "#" in drawn


def test_the_maps_follow_advantage_and_scope(app):
    """With |A| in the sums, and mu and sigma within each group."""
    app.open("run=frozen-lake&tab=tune")
    app.choose(scope="group", by_advantage=True)
    batch, kinds = tokens()
    groups = {t.group: [m for m in batch if m.group == t.group] for t in batch}
    stats = {
        name: signal_stats(
            np.concatenate([m.kinds for m in members]), np.concatenate([signal_values(m, "energy") for m in members])
        )
        for name, members in groups.items()
    }
    advantage = Batch.of(batch).grpo()
    masses = {}
    for alpha, beta in ((0.2, 1.5), (1, 0), (0, 0.5)):
        weights = [token_weights(t.kinds, signal_values(t, "energy"), alpha, beta, stats=stats[t.group]) for t in batch]
        masses[alpha, beta] = gradient_mass(kinds, np.concatenate(weights), advantage)
    for chart, wanted in zip((SHARE, SPREAD), shares(masses)):
        app.tune.expect_map(chart, wanted)


def test_a_click_sets_the_sliders(app):
    app.open("run=frozen-lake&tab=tune")
    batch, kinds = tokens()
    app.tune.click_map(0.6, 1.25)
    app.expect_sliders(0.6, 1.25)
    energy = np.concatenate([signal_values(t, "energy") for t in batch])
    share = gradient_mass(kinds, token_weights(kinds, energy, 0.6, 1.25))["kinds"]["action"]["mass_share"]
    expect(app.tune.lead).to_contain_text(f"{100 * share:.0f} %")
    # The mark of the setting moves there, too.
    app.page.wait_for_function(
        "node => node.data.at(-1).x[0] === 0.6 && node.data.at(-1).y[0] === 1.25",
        arg=app.tune.charts().nth(SHARE).element_handle(),
    )
    # So does a cell of the table, by keyboard.
    app.tune.root.get_by_text("Maps as a table").click()
    app.tune.cell(0.3, 0.5).focus()
    app.press("Enter")
    app.expect_sliders(0.3, 0.5)
    expect(app.tune.cell(0.3, 0.5)).to_be_focused()
    expect(app.tune.cell(0.3, 0.5)).to_have_attribute("aria-current", "true")


def test_the_curve_follows_the_sidebar(app):
    app.open("run=sokoban&tab=tune&alpha=0.4&beta=1&signal=entropy")
    batch, kinds = tokens("sokoban")
    stats = signal_stats(kinds, np.concatenate([signal_values(t, "entropy") for t in batch]))
    curve = app.tune.curve("weight of action")
    z = (np.array(curve["x"]) - stats.mean) / stats.std
    np.testing.assert_allclose(curve["y"], 1 + 1 / (1 + np.exp(-z)), atol=1e-6)
    band, middle = app.tune.charts().nth(CURVE).evaluate("node => node.layout.shapes")
    assert middle["x0"] == pytest.approx(stats.mean)
    assert (band["x0"], band["x1"]) == pytest.approx((stats.mean - stats.std, stats.mean + stats.std))
    action = distributions(batch)["entropy"].kinds.action
    np.testing.assert_allclose(app.tune.curve("action")["y"], values(action.counts) / action.n)
    app.slide(beta=0)
    app.tune.expect_curve("weight of action", 1)
    app.tune.expect_curve("weight of reasoning", 0.4)
    # A reload keeps the view, and another run has its own numbers.
    app.expect_address(beta=0, signal="entropy")
    app.reload()
    app.expect_sliders(0.4, 0)
    app.choose_run("unscored")
    expect(app.tune.root).to_contain_text("entropy: unavailable in this batch")
    app.slide(beta=0.5)
    expect(app.tune.lead).to_contain_text("only β = 0 can be mapped")
    nan = float("nan")
    app.tune.expect_map(SHARE, {(0.4, 0.5): nan, (1, 2): nan})
    assert all(value is not None for value in app.tune.charts().nth(SHARE).evaluate("node => node.data[0].z[0]")[1:])


@pytest.mark.slow
def test_the_exported_setting_runs(app):
    app.open("run=frozen-lake&tab=tune&alpha=0.25&beta=1.1&export=command")
    expect(app.tune.text).to_contain_text("--alpha 0.25 --beta 1.1")
    app.tune.radio("verl").click()
    expect(app.tune.text).to_contain_text("policy_loss.loss_mode=actfocus")
    app.tune.radio("Python").click()
    app.slide(alpha=0.3)
    expect(app.tune.text).to_contain_text("'alpha': 0.3")
    scope = {}
    exec(app.tune.text.text_content().replace("runs/NAME", str(assets() / "runs" / "frozen-lake")), scope)
    batch, _ = tokens()
    weight = get_scheme("actfocus").compute(Batch.of(batch), alpha=0.3, beta=1.1).weight
    np.testing.assert_array_equal(scope["weight"], weight)
    assert scope["factor"].sum() == pytest.approx((weight > 0).sum(), rel=1e-5)
    app.expect_address(export="python")


def test_the_page_fits_a_narrow_screen(app):
    for width in (800, 420):
        app.page.set_viewport_size({"width": width, "height": 900})
        app.open("run=plain&tab=tune")
        app.expect_no_overflow(width)


def test_a_run_that_cannot_be_opened_leaves_one_line(app):
    app.goto("tab=tune&run=broken")
    expect(app.tune.root.get_by_text("No run is open.")).to_be_visible()
    expect(app.tune.lead).to_be_hidden()
    expect(app.tune.alert).to_be_hidden()
