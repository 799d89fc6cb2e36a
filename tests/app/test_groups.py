"""The Groups page: its numbers are the library's, in Python and in a real browser."""

import json

import numpy as np
import pytest

from actfocus_core.analysis.diagnostics import action_bottleneck
from actfocus_core.credit import Batch, signal_stats, token_weights
from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_core.signals import SIGNALS, signal_values
from actfocus_core.train.groups import filter_groups
from actfocus_studio.data.batch_cache import BatchCache, constants
from actfocus_studio.data.cache import LruCache
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.pages.groups import diagnosis as module
from actfocus_studio.pages.groups import page as page_groups
from actfocus_studio.pages.groups.diagnosis import diagnose, diagnosis, ribbons
from actfocus_studio.shell.requests import answer
from tests.app.sample import HOSTILE, make_run

STATE = "ActFocus.groups.state"


class Shared:
    """What the page needs of a studio."""

    def __init__(self, runs_dir):
        self.catalog, self.batches = Catalog([], runs_dir), BatchCache()


def told(studio, **request) -> dict:
    return json.loads(
        answer(json.dumps({"number": 1, **request}), lambda one: page_groups.handle(studio, LruCache(), one))
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("groups") / "run", prompts=9, rollouts=4, steps=3)


# --- in Python ----------------------------------------------------------------------------------


def test_the_diagnosis_is_the_library_s(run):
    found = diagnose(run, [0, 1], "scripted", 3).summary(0.25)
    expected = action_bottleneck(Batch.of(run.trajectories(0) + run.trajectories(1)))
    for name in ("correlations", "confound", "missing"):
        assert found[name] == expected[name]
    columns = {name: [row[name] for row in expected["groups"]] for name in expected["groups"][0] if name != "group"}
    assert {name: found["groups"][name] for name in columns} == columns
    assert found["groups"]["label"] == [row["group"] for row in expected["groups"]]
    assert found["steps"] == [0, 1, 2, 3] and found["unscored"] == 0
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 1.0])
def test_kept_is_what_training_would_keep_of_each_step(run, share):
    found = diagnose(run, [0, 1, 2], "scripted", 3).summary(share)
    kept = {(t.step, t.group) for step in (0, 1, 2) for t in filter_groups(run.trajectories(step), share)}
    groups = found["groups"]
    assert {pair for pair, keep in zip(zip(groups["step"], groups["name"]), found["kept"]) if keep} == kept
    assert len(kept) == 3 * max(1, round(share * 9))


def test_a_long_run_is_diagnosed_by_its_last_steps(run, monkeypatch):
    monkeypatch.setattr(module, "ROLLOUTS_MAX", 80)
    found = diagnosis(run, None, "scripted", LruCache()).summary(0.25)
    assert found["steps"] == [1, 2, 2, 3] and len(found["rollouts"]["return"]) == 72
    monkeypatch.setattr(module, "ROLLOUTS_MAX", 1)
    assert diagnosis(run, None, "scripted", LruCache()).summary(0.25)["steps"] == [2, 2, 1, 3]


def test_rollouts_without_a_return_are_left_out_and_counted(run, tmp_path):
    batch = run.trajectories(0)
    for t in batch[:4]:
        t.reward = float("nan")
    batch[5].reward = float("nan")
    other = Run.create(tmp_path / "other", run.info["config"], run.info["model"])
    other.add_trajectories(0, batch)
    found = diagnose(other, [0], None, 1).summary(0.25)
    assert found["unscored"] == 5 and len(found["groups"]["label"]) == 8 and found["groups"]["rollouts"][0] == 3
    json.dumps(found, allow_nan=False)


def test_a_ribbon_is_what_the_policy_wrote(run):
    batch = run.trajectories(1, "scripted")
    mates = [t for t in batch if t.group == batch[6].group]
    got = ribbons(run, 1, batch[6].group, "scripted", constants(batch))
    assert [r["id"] for r in got] == [t.id for t in mates]
    for r, t in zip(got, mates):
        assert r["kinds"] == "".join(str(k) for k in t.kinds if k >= 3)
        written = t.turns[t.kinds >= 3]
        assert [0, *r["turns"]] == [int(np.argmax(written == k)) for k in np.unique(written)]
        assert (r["return"], r["success"], r["actions"]) == (
            t.ret,
            t.success,
            [turn.actions for turn in t.turn_records],
        )
        for name in SIGNALS:
            np.testing.assert_array_equal(
                np.array(r["signals"][name], np.float32), signal_values(t, name)[t.kinds == 4]
            )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 9000,
        '{"number":1}',
        '{"number":1,"op":"groups"}',
        '{"number":1,"op":"groups","run":"../../etc"}',
        '{"number":1,"op":"groups","run":"frozen-lake"}',
        '{"number":1,"op":"groups","run":"frozen-lake","step":77}',
        '{"number":1,"op":"groups","run":"frozen-lake","step":0,"reference":"nobody","keep":["x"],"over":7,"op2":1,"op":"rm"}',
        '{"number":1,"op":"ribbons","run":"frozen-lake","step":0,"group":"<img>"}',
        '{"number":1,"op":"ribbons","run":"frozen-lake","step":-1,"group":"x"}',
    ],
)
def test_a_bad_request_gives_one_clear_line(text, tmp_path):
    studio = Shared(tmp_path)
    got = json.loads(answer(text, lambda one: page_groups.handle(studio, LruCache(), one)))
    assert set(got) == {"error", "number"} and got["error"] and "\n" not in got["error"]


def test_the_share_is_the_run_s_own_where_it_says(tmp_path):
    made = make_run(tmp_path / "runs" / "plain", prompts=8, rollouts=2)
    info = json.loads((made.path / "run.json").read_text(encoding="utf-8"))
    for share, keep, own in (
        (0.5, 0.5, True),
        (1.0, 1.0, True),
        ("x", 0.25, False),
        (None, 0.25, False),
        (7, 0.25, False),
    ):
        info["config"]["filter_share"] = share
        (made.path / "run.json").write_text(json.dumps(info), encoding="utf-8")
        got = told(Shared(tmp_path / "runs"), op="groups", run="plain", step=0)["groups"]
        assert (got["keep"], got["own"]) == (keep, own)
        assert told(Shared(tmp_path / "runs"), op="groups", run="plain", step=0, keep="0.1")["groups"]["keep"] == 0.1


# --- in a browser -------------------------------------------------------------------------------


browser = pytest.mark.browser


def opened(page, studio, query="run=frozen-lake"):
    page.set_default_timeout(90_000)  # Nothing is asserted about seconds: a busy machine is no failure.
    page.goto(f"{studio}/?tab=groups&{query}")
    page.wait_for_function(
        f"window.ActFocus && ActFocus.groups && {STATE}.data && document.querySelectorAll('.af-groups .js-plotly-plot').length === 5"
    )
    return page


def minus(text: str) -> str:
    return text.replace("\u2212", "-")


@pytest.fixture(scope="module")
def lake():
    return Run.open(assets() / "runs" / "frozen-lake")


@browser
@pytest.mark.parametrize("name", ["frozen-lake", pytest.param("sudoku", marks=pytest.mark.slow)])
def test_the_numbers_on_the_page_are_the_library_s(page, studio, name):
    opened(page, studio, f"run={name}&measure=entropy")
    run = Run.open(assets() / "runs" / name)
    found = action_bottleneck(Batch.of(run.trajectories(0)))
    for k, part in enumerate(("all", "reasoning", "action")):
        row = next(r for r in found["correlations"] if (r["signal"], r["part"]) == ("entropy", part))
        text = minus(page.locator(".af-charts.three .af-chart").nth(k).inner_text())
        assert f"\u03c1 {row['rho']:.2f} [{row['low']:.2f}, {row['high']:.2f}] n {row['n']}" in text
        assert f"Given success: {row['partial']:.2f} [{row['partial_low']:.2f}, {row['partial_high']:.2f}]" in text
        drawn = page.evaluate("k => document.querySelectorAll('.af-charts.three .af-chart-plot')[k].data.at(-1)", k)
        assert drawn["x"] == [g[f"entropy_{part}"] for g in found["groups"]] and drawn["y"] == [
            g["sigma"] for g in found["groups"]
        ]
    confound = minus(page.locator(".af-charts.two .af-chart").first.inner_text())
    assert (
        f"\u03c1 {found['confound']['rho_success']:.2f} with the success rate p, {found['confound']['rho_spread']:.2f} with"
        in confound
    )
    assert ("take two values" in confound) == found["confound"]["binary"]
    # The table says the same, and which groups have no spread.
    rows = page.locator(".af-groups section .af-grid tbody tr")
    assert rows.count() == len(found["groups"])
    assert rows.get_by_text("no spread").count() == sum(g["sigma"] == 0 for g in found["groups"])
    kept = {t.group for t in filter_groups(run.trajectories(0), 0.25)}
    told = page.evaluate(
        "[...document.querySelectorAll('.af-groups section .af-grid tbody tr')].filter(r => r.lastChild.textContent === 'kept').map(r => r.querySelector('button').textContent)"
    )
    assert set(told) == kept


@browser
def test_under_eight_groups_there_is_no_rho_and_it_says_why(page, studio):
    opened(page, studio, "run=plain")
    text = page.locator(".af-charts.three .af-chart").last.inner_text()
    assert "No \u03c1" in text and "6 groups are fewer than 8" in text and "[" not in text
    page.get_by_label("Groups of", exact=True).select_option("all")
    page.wait_for_function(f"{STATE}.data.groups.label.length === 12")
    page.wait_for_function("document.querySelector('.af-charts.three').innerText.includes('n 12')")
    page.wait_for_function("location.search.includes('over=all')")


@browser
def test_a_brush_a_bar_and_a_point_select(page, studio, lake):
    opened(page, studio)
    batch = lake.trajectories(0)
    plot = page.locator(".af-charts.three .af-chart-plot").nth(2)
    # A box over the upper half of the chart, drawn by hand.
    box = plot.locator(".nsewdrag").first.bounding_box()
    half = page.evaluate("e => e._fullLayout.yaxis.p2l(e._fullLayout.yaxis._length / 2)", plot.element_handle())
    page.mouse.move(box["x"] + 1, box["y"] + 1)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4, steps=4)
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    page.wait_for_function(f"{STATE}.brush")
    sigma = {g: np.std([t.ret for t in batch if t.group == g]) for g in {t.group for t in batch}}
    rows = page.locator(".af-groups section .af-grid tbody tr")
    assert {r.locator("button").inner_text() for r in rows.all()} == {g for g, s in sigma.items() if s > half}
    assert (
        page.evaluate(
            "document.querySelectorAll('.af-charts.three .af-chart-plot')[0].data.at(-1).selectedpoints.length"
        )
        == rows.count()
    )
    page.get_by_role("button", name="show all").click()
    assert rows.count() == len(sigma)
    # A bar of the histogram: the groups with a rollout of that return.
    bars = page.locator(".af-charts.two .af-chart-plot").nth(1)
    counts = page.evaluate("e => e.data[0].y", bars.element_handle())
    returns = sorted({t.ret for t in batch})
    assert counts == [sum(t.ret == v for t in batch) for v in returns]
    box = bars.locator(".nsewdrag").first.bounding_box()
    high = counts.index(max(counts))
    page.mouse.click(box["x"] + box["width"] * (high + 0.5) / len(counts), box["y"] + box["height"] - 4)
    page.wait_for_function(f"{STATE}.brush && {STATE}.brush.bin === {high}")
    assert {r.locator("button").inner_text() for r in rows.all()} == {t.group for t in batch if t.ret == returns[high]}
    page.get_by_role("button", name="show all").click()
    # A point opens its group.
    plot.scroll_into_view_if_needed()
    at = page.evaluate("""() => { const e = document.querySelectorAll('.af-charts.three .af-chart-plot')[2], d = e.data.at(-1), f = e._fullLayout;
        const r = e.querySelector('.nsewdrag').getBoundingClientRect(), far = d.x.map((x, i) => Math.min(...d.x.map((o, j) => i === j ? 9 : Math.abs(x - o))));
        const i = far.indexOf(Math.max(...far)); return [r.x + f.xaxis.l2p(d.x[i]), r.y + f.yaxis.l2p(d.y[i]), i]; }""")
    page.mouse.move(at[0] - 3, at[1])
    page.mouse.move(at[0], at[1])
    page.wait_for_timeout(300)
    page.mouse.click(at[0], at[1])
    page.wait_for_function(f"i => {STATE}.open === i && {STATE}.ribbons.rows.length", arg=at[2])


@browser
def test_a_group_opens_as_ribbons_and_a_ribbon_opens_trace(page, studio, lake):
    batch = lake.trajectories(0)
    group = batch[40].group
    mates = [t for t in batch if t.group == group]
    opened(page, studio, f"run=frozen-lake&group={group}")
    page.wait_for_function(f"{STATE}.ribbons.rows.length === {len(mates)}")
    for ribbon, t in zip(page.locator(".af-ribbon").all(), mates):
        label = minus(ribbon.get_attribute("aria-label"))
        assert f"Rollout {t.rollout}: {'success' if t.success else 'failure'}, return {t.ret:.2f}" in label
        assert f"{(t.kinds == 4).sum()} action and {(t.kinds == 3).sum()} reasoning tokens" in label
    # The weights of its tokens are Python's.
    kinds = np.concatenate([t.kinds for t in batch])
    for signal in ("energy", "nll"):
        stats = signal_stats(kinds, np.concatenate([signal_values(t, signal) for t in batch]))
        page.evaluate(f"ActFocus.store.set({{signal: '{signal}', alpha: 0.3, beta: 1.5}}, true)")
        for k, t in enumerate(mates):
            got = page.evaluate(
                f"k => Array.from(ActFocus.ribbons.weights({STATE}.ribbons.rows[k].r, ActFocus.store.settings))", k
            )
            expected = token_weights(t.kinds, signal_values(t, signal), 0.3, 1.5, stats=stats)[t.kinds >= 3]
            np.testing.assert_allclose(got, expected, atol=1e-6)
    # Ribbons are to one scale, and follow the colour chosen.
    widths = page.evaluate(
        "[...document.querySelectorAll('.af-ribbon-tokens')].map(c => c.getBoundingClientRect().width)"
    )
    lengths = np.array([(t.kinds >= 3).sum() for t in mates])
    np.testing.assert_allclose(np.array(widths) / max(widths), lengths / lengths.max(), atol=0.01)
    paint = "document.querySelector('.af-ribbon-tokens').toDataURL()"
    before = page.evaluate(paint)
    page.get_by_role("radio", name="Weight", exact=True).last.click()
    page.wait_for_function(f"before => {paint} !== before", arg=before)
    # A reload shows the same, then a ribbon leads to its trajectory.
    page.wait_for_function("location.search.includes('ribbons=weight')")
    page.reload()
    page.wait_for_function(
        f"window.ActFocus && ActFocus.groups && {STATE}.data && {STATE}.ribbons.rows.length === {len(mates)}"
    )
    assert page.get_by_role("radio", name="Weight", exact=True).last.get_attribute("aria-checked") == "true"
    page.locator(".af-ribbon").nth(3).focus()
    page.keyboard.press("Enter")
    page.wait_for_function(
        f"ActFocus.store.place.trajectory === {mates[3].id!r} && ActFocus.store.place.tab === 'trace'"
    )
    page.locator("#af-text").wait_for()
    assert page.evaluate("ActFocus.trace.state.model.trajectory.id") == mates[3].id


@browser
def test_another_run_changes_the_page_and_hostile_names_stay_text(page, studio):
    opened(page, studio, "run=frozen-lake&group=00000-123&measure=zzz&keep=${1}&over=<img>&ribbons=x")
    assert page.evaluate("[ActFocus.store.place.measure, ActFocus.store.place.keep, ActFocus.store.place.over]") == [
        "energy",
        "",
        "step",
    ]
    page.evaluate("ActFocus.go({run: 'hostile'})")
    page.wait_for_function(f"{STATE}.data.groups.label.length === 2 && {STATE}.open === null")
    page.locator(".af-groups section .af-grid tbody button").first.click()
    page.wait_for_function(f"{STATE}.ribbons.rows.length")
    page.locator(".af-charts.three .af-chart-plot").first.hover()
    page.get_by_text("The numbers as tables").click()
    assert HOSTILE[1] in page.locator(".af-groups section .af-grid tbody").inner_text()
    page.wait_for_timeout(200)
    assert page.evaluate("window.__pwn") is None and page.locator(".af-groups img").count() == 0


@browser
def test_what_was_not_recorded_is_unavailable_and_a_broken_run_is_one_line(page, studio):
    page.goto(f"{studio}/?tab=groups&run=broken")
    page.locator(".af-groups .af-alert").get_by_text("not readable JSON").wait_for(timeout=90_000)
    assert not page.locator(".af-charts.three").is_visible()
    opened(page, studio, "run=unscored")
    assert page.locator(".af-charts.three").inner_text().count("unavailable") == 3
    assert "unavailable" in page.locator(".af-groups section .af-grid tbody").inner_text()
    assert page.get_by_label("Signal", exact=True).locator("option[value=energy]").is_disabled()


@browser
def test_the_page_fits_a_narrow_screen(page, studio):
    page.set_viewport_size({"width": 800, "height": 900})
    opened(page, studio, "run=plain&group=00000-1")
    page.wait_for_function(f"{STATE}.ribbons.rows.length === 4")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 800
    page.set_viewport_size({"width": 420, "height": 900})
    page.wait_for_function("document.scrollingElement.scrollWidth <= 420")
