"""The Groups page in a real Chromium: its numbers are the library's, and what is selected is what is shown."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from actfocus_core.analysis.diagnostics import action_bottleneck
from actfocus_core.credit import Batch, signal_stats, token_weights
from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_core.signals import signal_values
from actfocus_core.train.groups import filter_groups
from tests.app.pages import plain
from tests.app.pages.base import click_point, point, traces
from tests.app.sample import HOSTILE

pytestmark = pytest.mark.browser

PARTS = ("all", "reasoning", "action")


@pytest.fixture(scope="module")
def lake() -> Run:
    return Run.open(assets() / "runs" / "frozen-lake")


@pytest.mark.parametrize("name", ["frozen-lake", pytest.param("sudoku", marks=pytest.mark.slow)])
def test_the_numbers_on_the_page_are_the_library_s(app, name):
    groups = app.open(f"tab=groups&run={name}&measure=entropy").groups
    run = Run.open(assets() / "runs" / name)
    library = action_bottleneck(Batch.of(run.trajectories(0)))
    for k, part in enumerate(PARTS):
        row = next(r for r in library["correlations"] if (r["signal"], r["part"]) == ("entropy", part))
        text = plain(groups.scatters.nth(k).inner_text())
        assert f"\u03c1 {row['rho']:.2f} [{row['low']:.2f}, {row['high']:.2f}] n = {row['n']}" in text
        assert (
            f"Controlling for success rate: {row['partial']:.2f} [{row['partial_low']:.2f}, {row['partial_high']:.2f}]"
            in text
        )
        points = traces(groups.scatters.nth(k).locator(".js-plotly-plot"))[-1]
        assert points["x"] == [group[f"entropy_{part}"] for group in library["groups"]]
        assert points["y"] == [group["sigma"] for group in library["groups"]]
    confound, text = library["confound"], plain(groups.confound.inner_text())
    assert f"\u03c1 {confound['rho_success']:.2f} with the success rate p, {confound['rho_spread']:.2f} with" in text
    assert ("take two values" in text) == confound["binary"]
    # The table says the same, and which groups have no spread.
    groups.expect_total(len(library["groups"]))
    flat = [text for text in groups.cells("\u03c3 of returns") if "no spread" in text]
    assert len(flat) == sum(g["sigma"] == 0 for g in library["groups"])
    kept = {label for label, filter in zip(groups.labels(), groups.cells("filter")) if filter == "kept"}
    assert kept == {t.group for t in filter_groups(run.trajectories(0), 0.25)}


def test_the_charts_are_drawn_when_plotly_comes_last(app):
    held = []
    app.page.route("**/plotly.min.js", lambda route: held.append(route))
    groups = app.goto("tab=groups&run=plain").groups
    expect(groups.rows.first).to_be_visible()
    expect(groups.charts()).to_have_count(0)
    app.page.wait_for_function("() => document.querySelector('script[src$=\"plotly.min.js\"]')")
    held[0].continue_()
    groups.ready()


def test_the_charts_are_drawn_when_the_answer_comes_while_another_tab_is_shown(app):
    held = []
    app.open("tab=tune&run=plain")  # loads plotly
    app.page.route("**/studio/api/groups/diagnosis", lambda route: held.append(route))
    with app.page.expect_request("**/studio/api/groups/diagnosis"):
        app.tab("Groups")
    app.tab("Tune")
    app.expect_address(tab="tune")
    with app.page.expect_response("**/studio/api/groups/diagnosis"):
        held[0].continue_()
    expect(app.groups.charts()).to_have_count(0)
    app.tab("Groups")
    app.groups.ready()
    # And when the page gets its width only then: a tab is hidden, not narrow.
    assert app.groups.charts().first.bounding_box()["width"] > 200


def test_under_eight_groups_there_is_no_rho_and_it_says_why(app):
    groups = app.open("tab=groups&run=plain").groups
    expect(groups.scatters.last).to_contain_text("No \u03c1")
    text = groups.scatters.last.inner_text()
    assert "6 groups are fewer than 8" in text and "[" not in text
    groups.field("Groups of").select_option("all")
    groups.expect_total(12)
    expect(groups.scatters.last).to_contain_text("n = 12")
    app.expect_address(over="all")


def test_a_box_over_a_chart_selects_its_groups(app, lake):
    groups = app.open("tab=groups&run=frozen-lake").groups
    batch = lake.trajectories(0)
    sigma = {t.group: np.std([mate.ret for mate in batch if mate.group == t.group]) for t in batch}
    plot = groups.scatters.nth(2).locator(".js-plotly-plot")
    plot.scroll_into_view_if_needed()
    box = plot.locator(".nsewdrag").bounding_box()
    # The lower edge of the box lies between two values of sigma.
    values = sorted(set(sigma.values()))
    edge = (values[len(values) // 2 - 1] + values[len(values) // 2]) / 2
    bottom = point(plot, 0, edge)[1]
    app.page.mouse.move(box["x"] + 1, box["y"] + 1)
    app.page.mouse.down()
    app.page.mouse.move(box["x"] + box["width"] / 2, (box["y"] + bottom) / 2, steps=4)
    app.page.mouse.move(box["x"] + box["width"] - 1, bottom, steps=4)
    app.page.mouse.up()
    expect(groups.button("show all")).to_be_visible()
    assert set(groups.labels()) == {group for group, spread in sigma.items() if spread > edge}
    # The other charts follow in the next frame.
    app.page.wait_for_function(
        "([plot, count]) => (plot.data.at(-1).selectedpoints || []).length === count",
        arg=[groups.scatters.first.locator(".js-plotly-plot").element_handle(), len(groups.labels())],
    )
    groups.show_all()
    groups.expect_total(len(sigma))


def test_a_bar_selects_groups_and_a_point_opens_one(app, lake):
    groups = app.open("tab=groups&run=frozen-lake").groups
    batch = lake.trajectories(0)
    bars = groups.returns.locator(".js-plotly-plot")
    counts, returns = traces(bars)[0]["y"], sorted({t.ret for t in batch})
    assert counts == [sum(t.ret == value for t in batch) for value in returns]
    # A bar of the histogram: the groups with a rollout of that return.
    high = counts.index(max(counts))
    click_point(app.page, bars, high, max(counts) / 2)
    expect(groups.root).to_contain_text(f"a return of {returns[high]:.2f} ({max(counts)} rollouts)")
    assert set(groups.labels()) == {t.group for t in batch if t.ret == returns[high]}
    groups.show_all()
    # A point: the one that lies farthest from its neighbours.
    plot = groups.scatters.nth(2).locator(".js-plotly-plot")
    points = traces(plot)[-1]
    x = np.array(points["x"])
    far = np.abs(x[:, None] - x[None]) + np.where(np.eye(len(x)), np.inf, 0)
    i = int(far.min(1).argmax())
    click_point(app.page, plot, points["x"][i], points["y"][i])
    label = action_bottleneck(Batch.of(batch))["groups"][i]["group"]
    expect(groups.root.get_by_role("heading", name=label)).to_be_visible()
    expect(groups.ribbons).to_have_count(sum(t.group == label for t in batch))


def test_a_group_opens_as_ribbons_and_a_ribbon_opens_trace(app, lake):
    batch = lake.trajectories(0)
    mates = [t for t in batch if t.group == batch[40].group]
    groups = app.open(f"tab=groups&run=frozen-lake&group={mates[0].group}").groups
    expect(groups.ribbons).to_have_count(len(mates))
    for ribbon, t in zip(groups.ribbons.all(), mates, strict=True):
        text = plain(ribbon.get_attribute("aria-label"))
        assert f"Rollout {t.rollout}: {'success' if t.success else 'failure'}, return {t.ret:.2f}" in text
        assert f"{(t.kinds == 4).sum()} action and {(t.kinds == 3).sum()} reasoning tokens" in text
    # Ribbons are to one scale, and follow the colour chosen.
    canvases = groups.ribbons.locator("canvas")
    widths = np.array(canvases.evaluate_all("nodes => nodes.map((node) => node.getBoundingClientRect().width)"))
    lengths = np.array([(t.kinds >= 3).sum() for t in mates])
    np.testing.assert_allclose(widths / widths.max(), lengths / lengths.max(), atol=0.01)
    picture = "canvas => canvas.toDataURL()"
    by_kind = canvases.first.evaluate(picture)
    groups.colour_by("Weight").click()
    expect(groups.root).to_contain_text("Brighter tokens have a higher weight")
    assert canvases.first.evaluate(picture) != by_kind
    # A reload shows the same, then a ribbon leads to its trajectory.
    app.expect_address(ribbons="weight", group=mates[0].group)
    app.reload()
    expect(groups.ribbons).to_have_count(len(mates))
    expect(groups.colour_by("Weight")).to_have_attribute("aria-checked", "true")
    groups.ribbons.nth(3).focus()
    app.press("Enter")
    app.trace.ready()
    app.trace.expect_trajectory(mates[3].id)
    assert app.trace.texts() == mates[3].texts


OPACITY = """(canvas, count) => {
  const pen = canvas.getContext('2d');
  return Array.from({ length: count }, (_, i) => pen.getImageData(Math.floor((i + 0.5) * canvas.width / count), 4, 1, 1).data[3] / 255);
}"""


@pytest.mark.parametrize("title, signal", [("energy", "energy"), ("surprise", "nll")])
def test_a_ribbon_is_as_bright_as_the_weights_of_its_tokens(app, lake, title, signal):
    batch = lake.trajectories(0)
    mates = [t for t in batch if t.group == batch[40].group]
    groups = app.open(f"tab=groups&run=frozen-lake&group={mates[0].group}&ribbons=weight").groups
    app.choose(signal=title)
    app.slide(alpha=0.3, beta=1.5)
    expect(groups.root).to_contain_text("α 0.3, β 1.5")
    kinds = np.concatenate([t.kinds for t in batch])
    stats = signal_stats(kinds, np.concatenate([signal_values(t, signal) for t in batch]))
    for ribbon, t in zip(groups.ribbons.all(), mates, strict=True):
        written = t.kinds >= 3
        weights = token_weights(t.kinds, signal_values(t, signal), 0.3, 1.5, stats=stats)[written]
        shown = np.array(ribbon.locator("canvas").evaluate(OPACITY, len(weights)))
        # Where a turn begins there is a gap.
        inside = shown > 0
        assert inside.mean() > 0.8
        np.testing.assert_allclose(shown[inside], (0.06 + 0.85 * weights / 2.5)[inside], atol=0.006)


def test_another_run_changes_the_page_and_hostile_names_stay_text(app):
    groups = app.open("tab=groups&run=frozen-lake&group=00000-123&measure=zzz&keep=${1}&over=<img>&ribbons=x").groups
    app.expect_address(measure="energy", keep=None, over="step")
    app.choose_run("hostile")
    groups.expect_total(2)
    expect(groups.ribbons).to_have_count(0)
    groups.rows.first.click()
    expect(groups.ribbons.first).to_be_visible()
    groups.charts().first.hover()
    groups.root.get_by_text("The numbers as tables").click()
    expect(groups.table).to_contain_text(HOSTILE[1])
    app.expect_nothing_ran()
    expect(groups.root.locator("img")).to_have_count(0)


def test_what_was_not_recorded_is_unavailable_and_a_broken_run_is_one_line(app):
    groups = app.goto("tab=groups&run=broken").groups
    expect(groups.alert).to_contain_text("not readable JSON")
    expect(groups.scatters).to_have_count(0)
    app.open("tab=groups&run=unscored")
    for chart in groups.scatters.all():
        expect(chart).to_contain_text(re.compile("unavailable"))
    expect(groups.table).to_contain_text("unavailable")
    expect(groups.field("Signal").locator("option[value=energy]")).to_be_disabled()


def test_the_page_fits_a_narrow_screen(app):
    app.page.set_viewport_size({"width": 800, "height": 900})
    groups = app.open("tab=groups&run=plain&group=00000-1").groups
    expect(groups.ribbons).to_have_count(4)
    app.expect_no_overflow(800)
    app.page.set_viewport_size({"width": 420, "height": 900})
    app.expect_no_overflow(420)
