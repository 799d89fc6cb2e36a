"""The Compare page: its numbers are numpy's own, its panes are linked, and it says what it does not know."""

import json
import math
import shutil
from dataclasses import replace
from urllib.parse import parse_qs, parse_qsl, urlsplit

import numpy as np
import pytest
from scipy.stats import spearmanr

from actfocus_core.analysis.comparison import compare
from actfocus_core.analysis.scoreboard import Truth, credits_of, scoreboard
from actfocus_core.credit import SCHEMES, Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind, response_mask
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.data.scored_batches import ScoredBatch, ScoredBatches
from actfocus_studio.data.view import COMPARED, View
from actfocus_studio.jobs.signals import Signals
from actfocus_studio.pages.compare.credits import boards, table, token_credit
from actfocus_studio.pages.compare.page import handle
from actfocus_studio.shell.requests import answer
from actfocus_studio.shell.studio import Studio
from tests.app.sample import make_run
from tests.core.command import actfocus

STATE = "ActFocus.compare.state"
PATIENCE = 120_000


def with_truth(path, scored) -> Run:
    """A run like another one, with made-up exact values of every turn."""
    made = Run.create(path, scored.info["config"], {"name": "scripted"})
    rng = np.random.default_rng(3)
    batch = scored.trajectories(0)
    for t in batch:
        response, turns = response_mask(t.kinds), int(t.turns.max()) + 1
        for oracle in ("policy", "oracle"):
            v, a = rng.random(turns), rng.normal(size=turns)
            for name, values in (
                (f"{oracle}_v", v),
                (f"{oracle}_q", v + a),
                (f"{oracle}_v_replica", v),
                (f"{oracle}_q_replica", v + a),
            ):
                t.signals[name] = np.where(response, values[np.maximum(t.turns, 0)], np.nan).astype(np.float32)
    made.add_trajectories(0, batch)
    made.annotate(0, "scripted", batch)
    return made


@pytest.fixture(scope="module")
def extra(runs_dir):
    """Two more runs for as long as these tests last: one with a known truth, one to be scored."""
    with_truth(runs_dir / "known", Run.open(runs_dir / "plain"))
    make_run(runs_dir / "to-score", prompts=2, rollouts=2, scored=False)
    yield runs_dir
    for name in ("known", "to-score", "to-ask"):
        shutil.rmtree(runs_dir / name, ignore_errors=True)


@pytest.fixture(scope="module")
def plain(runs_dir):
    return Run.open(runs_dir / "plain")


@pytest.fixture(scope="module")
def desk(extra):
    """A studio without a page."""
    return Studio(None, Catalog([], extra), None, None)


def asked(desk, op, **view):
    return json.loads(
        answer(json.dumps({"op": op, "number": 7, "run": "plain", **view}), lambda one: handle(desk, one))
    )


# --- the server -----------------------------------------------------------------------------------


def test_the_table_is_numpys_own(plain):
    compared = ScoredBatch.of(plain, 1, None)
    got = table(compared, View(alpha=0.3, beta=1.2, signal="entropy"))
    trajectories = plain.trajectories(1)
    kinds = np.concatenate([t.kinds for t in trajectories])
    rows = {row["scheme"]: row for row in got["schemes"]}
    assert list(rows) == list(SCHEMES) and got["rollouts"] == len(trajectories)
    entropy = np.concatenate([t.signals["ref_entropy"] for t in trajectories]).astype(float)
    action = kinds == TokenKind.ACTION
    z = (entropy[action] - entropy[action].mean()) / np.sqrt(entropy[action].var() + 1e-6)
    w = np.where(kinds >= TokenKind.REASONING, 0.3, 0.0)
    w[action] = 1 + 1.2 / (1 + np.exp(-z))
    mine = rows["actfocus"]
    assert mine["kinds"]["action"]["mass_share"] == pytest.approx(w[action].sum() / w.sum(), rel=1e-4)
    assert mine["effective_tokens"] == pytest.approx(w.sum() ** 2 / (w**2).sum(), rel=1e-4)
    assert rows["role_only"]["params"]["alpha"] == 0.1, "only ActFocus follows the sidebar"
    c = {
        name: get_scheme(name).compute(compared.batch).effective()[compared.batch.response]
        for name in ("uniform", "gtpo")
    }
    assert got["spearman"]["uniform"]["gtpo"] == pytest.approx(spearmanr(c["uniform"], c["gtpo"]).statistic, abs=1e-6)
    both = (c["uniform"] != 0) & (c["gtpo"] != 0)
    assert rows["gtpo"]["sign_flips"] == pytest.approx((c["uniform"] * c["gtpo"] < 0)[both].mean())


def test_controls_stand_in_the_table_where_they_change_anything(plain):
    names = [row["scheme"] for row in table(ScoredBatch.of(plain, 0, None), View(controls=True))["schemes"]]
    assert "shuffle:actfocus" in names and "reversed:top_entropy" in names and "random:gtpo" in names
    assert "shuffle:uniform" not in names and names.index("shuffle:actfocus") == names.index("actfocus") + 1


@pytest.mark.parametrize("name", ["uniform", "actfocus", "gigpo", "shuffle:energy_only"])
def test_token_credit_is_the_effective_credit_in_units_of_the_advantage(plain, name):
    compared = ScoredBatch.of(plain, 0, None)
    id = compared.batch.ids[5]
    got, top = token_credit(compared, name, View(), id)
    whole = get_scheme(name).compute(compared.batch).effective() * compared.batch.response.sum()
    assert got["credit"] == pytest.approx(whole[compared.batch.index == 5].tolist(), rel=1e-5, abs=1e-9)
    assert 0 < top <= np.abs(whole).max()
    if name == "uniform":
        np.testing.assert_allclose(whole, compared.batch.grpo(), rtol=1e-5)


def test_what_is_missing_gives_no_credit(runs_dir, plain):
    unscored = ScoredBatch.of(Run.open(runs_dir / "unscored"), 0, None)
    assert token_credit(unscored, "actfocus", View(), unscored.batch.ids[0]) == (
        {"credit": None, "missing": ["energy"]},
        0.0,
    )
    assert token_credit(unscored, "actfocus", View(beta=0), unscored.batch.ids[0])[0]["credit"] is not None
    assert boards(unscored, View()) == []


def test_rollouts_without_a_return_are_left_out_and_counted(tmp_path, plain):
    run = Run.create(tmp_path / "half", plain.info["config"])
    batch = plain.trajectories(0)
    batch[:3] = [replace(t, reward=math.nan) for t in batch[:3]]
    run.add_trajectories(0, batch)
    compared = ScoredBatches().get(run, 0, None)
    assert compared.unscored == 3 and len(compared.batch.ids) == len(batch) - 3
    assert token_credit(compared, "uniform", View(), batch[0].id)[0]["credit"] is None
    json.dumps(table(compared, View()), allow_nan=False)
    none = Run.create(tmp_path / "none", plain.info["config"])
    none.add_trajectories(0, [replace(t, reward=math.nan) for t in batch])
    with pytest.raises(ActFocusError, match="no rollout of step 0 has a return"):
        ScoredBatch.of(none, 0, None)


def test_a_step_scored_again_is_read_again(tmp_path):
    run, cache = make_run(tmp_path / "run", prompts=2), ScoredBatches()
    first = cache.get(run, 0, "scripted")
    assert cache.get(run, 0, "scripted") is first
    batch = run.trajectories(0)
    for t in batch:
        t.signals["ref_energy"] = t.signals["ref_energy"] * 3
    run.annotate(0, "scripted", batch)
    again = cache.get(run, 0, "scripted")
    response = first.batch.response
    np.testing.assert_allclose(again.batch.signals["energy"][response], 3 * first.batch.signals["energy"][response])


def test_the_same_prompt_is_found_at_other_steps_and_in_other_runs(desk, plain):
    id = plain.index().iloc[9]["id"]
    found = asked(desk, "places", trajectory=id)["places"]
    assert (found[0]["run"], found[0]["step"]) == ("plain", 0) and id in [m["id"] for m in found[0]["members"]]
    index = plain.index()
    seed = index.loc[index["id"] == id, "seed"].item()
    there = next(p for p in found if (p["run"], p["step"]) == ("plain", 1))
    assert [m["id"] for m in there["members"]] == list(index[(index["step"] == 1) & (index["seed"] == seed)]["id"])
    assert [p["run"] for p in found if p["run"] != "plain"] == ["known"], (
        "other environments or options are other prompts"
    )


def test_the_other_pane_has_its_own_batch(desk, plain):
    index = plain.index()
    here, there = (index[index["step"] == step].iloc[4]["id"] for step in (0, 1))
    view = {"trajectory": here, "other": there, "scheme_a": "uniform", "scheme_b": "uniform"}
    shown = asked(desk, "panes", **view)
    assert (shown["left"]["id"], shown["right"]["id"], shown["right"]["step"]) == (here, there, 1)
    got = asked(desk, "credit", **view)
    for side, step, id in (("a", 0, here), ("b", 1, there)):
        batch = Batch.of(plain.trajectories(step))
        own = batch.grpo()[batch.index == batch.ids.index(id)]
        assert got[side]["credit"] == pytest.approx(own.tolist(), rel=1e-5)


def test_the_other_trajectory_of_the_address_is_checked(desk):
    shown = asked(desk, "panes", other="<img src=x>")
    assert shown["right"] is None and "<img src=x>" in shown["notes"][0]
    for bad in ({"other": "x", "other_run": "../../etc"}, {"other": "x"}):
        assert "\n" not in asked(desk, "credit", **bad)["error"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "7",
        '{"op":"panes"}',
        "[" * 9000,
        '{"op":"rm","number":1}',
        '{"op":["panes"],"number":1}',
        '{"op":{},"number":1}',
        '{"op":"schemes","number":1,"run":"../x"}',
        '{"op":"score","with":"../m","number":1,"run":"plain"}',
        '{"op":"score","with":["tiny"],"number":1,"run":"plain"}',
        '{"op":"report","number":1,"run":"broken"}',
    ],
)
def test_a_bad_request_gives_one_clear_line(desk, text):
    got = json.loads(answer(text, lambda one: handle(desk, one)))
    assert set(got) == {"error", "number"} and got["error"] and "\n" not in got["error"]


def test_only_what_is_in_the_lists_is_computed(plain):
    signals = Signals()
    for name in ("--help", "../m", None, ["tiny"]):
        with pytest.raises(ActFocusError, match="unknown reference"):
            signals.score(plain, "plain", name)
        with pytest.raises(ActFocusError, match="unknown values"):
            signals.judge(plain, "plain", 0, name)
    assert signals.status().state == "idle"


def test_a_run_that_cannot_be_written_gives_one_line_before_any_work(tmp_path):
    run = make_run(tmp_path / "sealed", prompts=1, rollouts=2, scored=False)
    shutil.rmtree(run.path / "signals")
    (run.path / "signals").write_text("no folder")
    signals = Signals()
    for start in (lambda: signals.score(run, "sealed", "tiny"), lambda: signals.judge(run, "sealed", 0, "optimal")):
        with pytest.raises(
            ActFocusError, match=r"sealed: nothing can be stored with this run \(Not a directory\); copy"
        ):
            start()
    assert signals.status().state == "idle"
    for command in (["score", run.path], ["oracle", run.path, "--no-policy"]):
        result = actfocus(*command)
        assert (
            result.returncode == 2
            and "nothing can be stored with this run" in result.stderr
            and result.stderr.count("\n") == 1
        )


def test_what_the_run_does_not_say_cannot_be_judged(tmp_path):
    run = Run.create(tmp_path / "foreign", {"command": "import"})
    with pytest.raises(ActFocusError, match="does not state its environment"):
        Signals().judge(run, "foreign", 0, "optimal")


def test_the_setting_kept_as_b_is_a_scheme_of_its_own(plain):
    compared = ScoredBatch.of(plain, 0, None)
    id = compared.batch.ids[3]
    view = View.parse({"kept": "0.3,1.2,entropy,batch,0", "scheme_b": "kept", "alpha": 0.7})
    assert view.scheme_b == "kept" and View.parse(dict(parse_qsl(view.query()))) == view
    kept, _ = token_credit(compared, "kept", view, id)
    assert kept == token_credit(compared, "actfocus", View(alpha=0.3, beta=1.2, signal="entropy"), id)[0]
    assert kept != token_credit(compared, "actfocus", view, id)[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kept",
        "0.3,1.2,entropy,batch",
        "0.3,1.2,luck,batch,0",
        "nan,1,energy,batch,0",
        "0.3,inf,energy,batch,0",
        "0.3,1,energy,world,0",
        "0.3,1,energy,batch,yes",
        "0.3,1,energy,batch,0,0",
        ["0.3"],
        None,
        "0" * 300,
    ],
)
def test_what_is_not_a_kept_setting_is_none(text):
    view = View.parse({"kept": text, "scheme_b": "kept"})
    assert view.kept == "" and view.scheme_b == View.scheme_b


def test_the_address_keeps_what_is_compared():
    view = View(
        tab="compare", scheme_a="shuffle:gtpo", scheme_b="carl", other_run="a run", other="00001-3-01", controls=True
    )
    assert View.parse({name: values[0] for name, values in parse_qs(view.query()).items()}) == view
    for bad in ("", "shuffle:", "shuffle:shuffle:gtpo", "__proto__", "actfocus ", ["gtpo"], None):
        assert View.parse({"scheme_a": bad, "scheme_b": bad}).scheme_b == "uniform"
    assert len(COMPARED) == 4 * len(SCHEMES) and all(get_scheme(name).name == name for name in COMPARED)


def test_the_report_is_the_commands_own(desk, plain):
    from actfocus_core.reports.html import render

    got = asked(desk, "report", step=1)
    assert got["report"] == render(plain, 1, "scripted")[0] and got["name"] == "plain-step-1.html"


# --- the browser ----------------------------------------------------------------------------------


def opened(page, studio, query=""):
    """Open the page and wait until every part of it is answered for the view."""
    page.goto(f"{studio}/?run=plain&tab=compare{query}")
    settled(page)
    return page


def settled(page):
    """Nothing is asked any more, twice in a row: a change is taken up a moment later."""
    quiet = f"window.ActFocus && ActFocus.compare && {STATE}.data.boards && {STATE}.data.credit && {STATE}.places && ActFocus.compare.idle()"
    for _ in range(2):
        page.wait_for_timeout(80)
        page.wait_for_function(quiet, timeout=PATIENCE)


def signed(page, k) -> np.ndarray:
    return np.array(page.evaluate(f"Array.from({STATE}.panes[{k}].model.signed)"))


def expected(run, step, name, id, **params) -> np.ndarray:
    batch = Batch.of(run.trajectories(step))
    credit = get_scheme(name).compute(batch, **params)
    return (credit.effective() * batch.response.sum())[batch.index == batch.ids.index(id)]


browser = pytest.mark.browser


@browser
def test_two_schemes_and_their_difference_on_the_same_tokens(page, studio, plain, extra):
    opened(page, studio, "&scheme_b=energy_only")
    id = page.evaluate("ActFocus.store.place.trajectory")
    t = plain.trajectory(id)
    a, b = expected(plain, t.step, "actfocus", id), expected(plain, t.step, "energy_only", id)
    for k, values in enumerate((a, b, a - b)):
        np.testing.assert_allclose(signed(page, k), values, rtol=1e-4, atol=1e-5 * np.abs(a).max())
        assert page.evaluate(f"{STATE}.panes[{k}].view.spans.map((s) => s.textContent)") == t.texts
    tops = {page.evaluate(f"{STATE}.panes[{k}].model.signedTop") for k in range(3)}
    assert len(tops) == 1 and f"≥ +{tops.pop():.2f}" in page.locator(".af-compare .af-legend").text_content()
    # Blue where A gives more, brown where it gives less, on the one scale.
    differ = a - b
    top = page.evaluate(f"{STATE}.panes[0].model.signedTop")
    for i in (int(differ.argmax()), int(differ.argmin())):
        colour = page.evaluate(f"{STATE}.panes[2].view.spans[{i}].style.backgroundColor")
        numbers = [float(x) for x in colour.removeprefix("rgba(").removesuffix(")").split(",")]
        assert numbers[:3] == ([33, 102, 172] if differ[i] > 0 else [179, 88, 6])
        assert numbers[3] == pytest.approx(0.75 * min(abs(differ[i]) / top, 1), abs=0.004)
    # The sidebar's alpha moves ActFocus and nothing else.
    page.evaluate("ActFocus.store.set({ alpha: 0.6 }, true)")
    settled(page)
    np.testing.assert_allclose(
        signed(page, 0), expected(plain, t.step, "actfocus", id, alpha=0.6), rtol=1e-4, atol=1e-5 * np.abs(a).max()
    )
    np.testing.assert_allclose(signed(page, 1), b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


@browser
def test_the_table_and_the_matrix_say_what_compare_says(page, studio, plain, extra):
    opened(page, studio)
    step = page.evaluate("ActFocus.store.place.step")
    batch = Batch.of(plain.trajectories(step))
    found = compare(batch, credits_of(batch, list(SCHEMES), controls=False))
    rows = page.locator(".af-schemes tbody tr")
    assert rows.evaluate_all("(all) => all.map((r) => r.dataset.scheme)") == list(SCHEMES)
    for row in found["schemes"]:
        told = page.locator(f".af-schemes tr[data-scheme={row['scheme']}]")
        assert SCHEMES[row["scheme"]].source in told.text_content()
        if row["missing"]:
            assert f"unavailable: no {', '.join(row['missing'])}" in told.text_content()
            assert told.get_by_role("button").first.is_disabled()
            continue
        shares = [
            f"{100 * of['kinds'][kind]['mass_share']:.1f}"
            for of in (row, row["credit"])
            for kind in ("action", "reasoning", "format")
        ]
        counts = [f"{round(of['effective_tokens']):,}" for of in (row, row["credit"])]
        flips = "–" if math.isnan(row["sign_flips"]) else f"{100 * row['sign_flips']:.1f}"
        assert told.locator("td.num").all_text_contents() == [*shares[:3], counts[0], *shares[3:], counts[1], flips]
    names = list(found["spearman"])
    cells = page.locator(".af-spearman tbody td").all_text_contents()
    told = [math.nan if text == "–" else float(text.replace("−", "-")) for text in cells]
    np.testing.assert_allclose(told, [found["spearman"][a][b] for a in names for b in names], atol=0.00501)
    # The null controls come and go.
    page.get_by_label("null controls").check()
    settled(page)
    assert page.locator(".af-schemes tr[data-scheme='shuffle:actfocus']").count() == 1
    assert "controls=1" in page.url or page.wait_for_url("**controls=1**") is None


@browser
def test_hover_and_scroll_are_linked_by_position(page, studio, extra):
    page.goto(f"{studio}/?run=long&tab=compare")  # turns out of sight have estimated heights
    settled(page)
    hot = f"{STATE}.panes.map((p) => [...p.box.querySelectorAll('.t.hot')].map((s) => +s.dataset.i))"
    token = page.locator(".af-pane").nth(1).locator(".t.k4").first
    i = int(token.get_attribute("data-i"))
    token.hover()
    assert page.evaluate(hot) == [[i], [i], [i]]
    values = [page.evaluate(f"{STATE}.panes[{k}].model.signed[{i}]") for k in range(3)]
    told = page.locator(".af-readout").text_content()
    assert f"position {i}" in told
    for name, value in zip(("A", "B", "A − B"), values):
        assert f"{name} {'+' if value > 0 else ''}{value:.3f}".replace("-", "−") in told
    # The keyboard: one stop a pane, arrows walk, the other panes follow, and it is spoken.
    assert page.locator(".af-pane").first.locator(".t[tabindex='0']").count() == 1
    token.click()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(hot) == [[i + 1]] * 3
    assert page.evaluate("document.activeElement.dataset.i") == str(i + 1)
    assert f"position {i + 1}" in page.locator(".af-compare [aria-live=polite].af-spoken").text_content()
    # Scrolling one pane brings the others to the same turn.
    page.locator(".af-pane").first.locator(".af-text").hover()
    page.mouse.wheel(0, 2400)
    top = f"""{STATE}.panes.map((p) => {{ const frame = p.box.getBoundingClientRect().top;
        const card = [...p.box.children].find((c) => c.getBoundingClientRect().bottom > frame + 1);
        return [card.first, Math.round(card.getBoundingClientRect().top - frame)]; }})"""
    page.wait_for_function(
        f"(() => {{ const all = {top}; return {STATE}.panes[0].box.scrollTop > 2000"
        " && all.every((x) => x[0] === all[0][0] && Math.abs(x[1] - all[0][1]) <= 2); })()"
    )


@browser
def test_two_rollouts_two_steps_and_a_reload(page, studio, plain, extra):
    opened(page, studio, "&scheme_a=carl&scheme_b=gigpo")
    left = page.evaluate("ActFocus.store.place.trajectory")
    page.get_by_label("Where B is from").select_option(label="this prompt at step 1")
    settled(page)
    assert page.locator(".af-pane").count() == 2
    right = page.evaluate("ActFocus.store.place.other")
    rows = plain.index().set_index("id")
    assert rows.loc[right, "step"] == 1 and rows.loc[right, "seed"] == rows.loc[left, "seed"]
    np.testing.assert_allclose(signed(page, 1), expected(plain, 1, "gigpo", right), rtol=1e-4, atol=1e-6)
    # A token's counterpart is at the same place of the same turn.
    token = page.locator(".af-pane").first.locator(".af-turn:not(.af-prologue) .t").nth(3)
    i = int(token.get_attribute("data-i"))
    token.hover()
    j = page.evaluate(f"+{STATE}.panes[1].box.querySelector('.t.hot').dataset.i")
    turns = [plain.trajectory(id).turns for id in (left, right)]
    assert i - np.argmax(turns[0] == 0) == j - np.argmax(turns[1] == 0) == 3
    page.wait_for_url(f"**other={right}**")
    query = parse_qs(urlsplit(page.url).query)
    assert (query["tab"], query["scheme_a"], query["scheme_b"]) == (["compare"], ["carl"], ["gigpo"])
    page.reload()
    settled(page)
    shown = page.evaluate(f"{STATE}.panes.map((p) => [p.data.id, p.side])")
    assert shown == [[left, "a"], [right, "b"]]
    assert page.get_by_label("Scheme of pane A").input_value() == "carl"
    assert page.get_by_label("Rollout of B").input_value() == right
    # Another trajectory of the Trace page is another one here.
    page.get_by_label("Scheme of pane A").blur()
    page.keyboard.press("j")
    page.wait_for_function(f"{STATE}.data.panes.left.id !== {json.dumps(left)}")
    settled(page)
    assert page.locator(".af-pane").count() == 3 and page.get_by_label("Where B is from").input_value() == "-1"


@browser
def test_without_a_truth_it_says_so_and_with_one_it_is_scored(page, studio, extra):
    opened(page, studio)
    missing = page.locator(".af-lacking-truth")
    assert (
        "perfect play would have made" in missing.text_content()
        and "actfocus oracle" in missing.locator("code").text_content()
    )
    assert missing.get_by_role("button").count() == 2
    page.goto(f"{studio}/?run=known&tab=compare")
    settled(page)
    run = Run.open(extra / "known")
    batch = Batch.of(run.trajectories(0))
    board = scoreboard(batch, credits_of(batch, list(SCHEMES), controls=False), Truth.of(batch))
    first = page.locator(".af-scores").first
    for row in board.rows:
        cells = first.locator(f"tr[data-scheme={row.name}] td").all_text_contents()
        for text, score in zip(cells, row.scores.values(), strict=True):
            told = (
                score.why
                if score.value is None
                else f"{score.value:.2f} [{score.low:.2f}, {score.high:.2f}]".replace("-", "−")
            )
            assert text == told.replace("−0.00", "0.00")
    assert "no ranking" in first.locator("tr[data-scheme=uniform]").text_content()
    told = first.locator("caption").text_content()
    assert "exact" in told and page.locator(".af-scores").count() == 2 and missing.count() == 0
    assert (
        board.skipped
        and f"{board.skipped} of {len(batch.ids)} rollouts have fewer than 3 different true values" in told
    )


@browser
def test_what_lacks_a_signal_is_greyed_and_scoring_brings_it(page, studio, extra):
    page.goto(f"{studio}/?run=to-score&tab=compare")
    settled(page)
    row = page.locator(".af-schemes tr[data-scheme=actfocus]")
    assert "unavailable: no energy" in row.text_content() and "af-lacking" in row.get_attribute("class")
    assert "unavailable: no energy" in page.locator(".af-pane-head").first.text_content()
    assert np.isnan(signed(page, 0)).all() and not np.isnan(signed(page, 1)).any()
    row.get_by_role("button", name="Score with").click()
    page.wait_for_function(f"{STATE}.data.table.reference === 'tiny'", timeout=PATIENCE)
    settled(page)
    assert "af-lacking" not in (row.get_attribute("class") or "")
    run = Run.open(extra / "to-score")
    assert run.references() == ["tiny"]
    id = page.evaluate("ActFocus.store.place.trajectory")
    np.testing.assert_allclose(signed(page, 0), expected(run, 0, "actfocus", id), rtol=1e-4, atol=1e-6)
    # The oracle's values, by the button of the scheme that needs them.
    row = page.locator(".af-schemes tr[data-scheme=oracle_optimal]")
    row.get_by_role("button", name="Compute perfect play").click()
    page.locator(".af-scores").wait_for(timeout=PATIENCE)
    settled(page)
    assert run.annotations(0) == ["oracle-optimal"] and "af-lacking" not in (row.get_attribute("class") or "")
    assert "stored with it" in page.locator(".af-compare .af-job-line").text_content()
    # What sampled these rollouts is no model: the policy's own values cannot be had, and one line says why.
    page.locator(".af-lacking-truth").get_by_role("button", name="Compute the policy").click()
    page.get_by_text("Computing signals of to-score failed: ").wait_for(timeout=PATIENCE)
    assert "scripted" in page.locator(".af-compare .af-job-line").text_content()


@browser
def test_the_solutions_log_probs_are_computed_at_a_click_and_can_be_cancelled(page, studio, extra):
    sample = Run.open(assets() / "runs" / "frozen-lake")
    run = Run.create(extra / "to-ask", sample.info["config"], {"name": "tiny"})
    batch = sample.trajectories(0, "tiny")[:8]
    run.add_trajectories(0, batch)
    run.annotate(0, "tiny", batch)
    page.set_default_timeout(PATIENCE)
    page.goto(f"{studio}/?run=to-ask&tab=compare&scheme_a=a2tgpo")
    settled(page)
    row, line = page.locator(".af-schemes tr[data-scheme=a2tgpo]"), page.locator(".af-compare .af-job-line")
    assert "unavailable: no answer_logprob_before" in row.text_content() and np.isnan(signed(page, 0)).all()
    button = row.get_by_role("button", name="Compute the solutions’ log-probs")
    button.click()
    line.get_by_role("button", name="Cancel").click()
    line.get_by_text("Computing signals of to-ask was cancelled").wait_for()
    assert run.annotations(0) == []
    # Begun again and left alone, it is there, and the scheme has its credit.
    button.click()
    line.get_by_text("The signals of to-ask are computed and stored with it.").wait_for()
    settled(page)
    assert "oracle-answers" in run.annotations(0) and "af-lacking" not in (row.get_attribute("class") or "")
    id = page.evaluate("ActFocus.store.place.trajectory")
    np.testing.assert_allclose(signed(page, 0), expected(run, 0, "a2tgpo", id), rtol=1e-4, atol=1e-6)


@browser
def test_the_setting_kept_as_b_is_a_pane_and_the_tokens_are_a_table(page, studio, plain, extra):
    opened(page, studio)
    panes = page.get_by_label("Scheme of pane B")
    assert panes.locator("option[value=kept]").is_disabled()
    page.evaluate("ActFocus.store.set({ alpha: 0.4, beta: 1.5, signal: 'entropy' }, true)")
    page.get_by_role("button", name="Keep as B").click()
    page.evaluate("ActFocus.store.set({ alpha: 0.1, beta: 0.5, signal: 'energy' }, true)")
    panes.select_option("kept")
    settled(page)
    page.wait_for_function("location.search.includes('kept=0.4')")
    page.reload()
    settled(page)
    assert "α 0.4, β 1.5, entropy" in page.locator(".af-pane-head").nth(1).text_content()
    id = page.evaluate("ActFocus.store.place.trajectory")
    batch = Batch.of(plain.trajectories(0))
    credit = (
        get_scheme("actfocus").compute(batch, alpha=0.4, beta=1.5, signal="entropy").effective() * batch.response.sum()
    )
    own = credit[batch.index == batch.ids.index(id)]
    np.testing.assert_allclose(signed(page, 1), own, rtol=1e-4, atol=1e-6)
    page.get_by_role("button", name="Tokens as a table").click()
    rows = page.locator(".af-token-rows tbody tr")
    t = plain.trajectory(id)
    assert rows.count() == len(t) and page.locator(".af-pane").first.is_hidden()
    at = int(np.flatnonzero(t.kinds == TokenKind.ACTION)[0])
    cells = rows.nth(at).locator("td").all_text_contents()
    assert (
        cells[0] == str(at)
        and cells[2] == "action"
        and float(cells[5].replace("−", "-")) == pytest.approx(own[at], abs=6e-4)
    )
    assert rows.first.locator("td").nth(5).text_content() == "–"


@browser
def test_the_report_is_a_file(page, studio, plain, extra, tmp_path):
    opened(page, studio)
    with page.expect_download() as download:
        page.get_by_role("button", name="Report of this batch").click()
    file = tmp_path / "report.html"
    download.value.save_as(file)
    assert download.value.suggested_filename == "plain-step-0.html"
    text = file.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and "<script" not in text and "ActFocus" in text


@browser
def test_hostile_text_and_addresses_stay_text(page, studio, extra):
    page.goto(
        f"{studio}/?run=hostile&tab=compare&scheme_a=%3Cimg%20src%3Dx%20onerror%3Dwindow.__pwn%3D9%3E&other=%24%7Bwindow.__pwn%3D8%7D"
    )
    settled(page)
    assert page.locator(".af-pane").count() == 3
    assert "no trajectory '${window.__pwn=8}'" in page.locator(".af-compare > [role=alert]").text_content()
    assert "other=" not in page.url
    page.get_by_label("Where B is from").select_option(index=1)
    settled(page)
    page.locator(".af-pane .t").nth(60).hover()
    assert page.evaluate("window.__pwn") is None
    assert page.locator(".af-compare img").count() == 0
    assert page.get_by_label("Scheme of pane A").input_value() == "actfocus"


@browser
@pytest.mark.parametrize("width", [420, 800])
def test_the_page_fits_a_narrow_screen(page, studio, extra, width):
    page.set_viewport_size({"width": width, "height": 900})
    opened(page, studio)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
