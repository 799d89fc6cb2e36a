"""The Compare page in a browser: linked panes, and tables with the numbers of the library."""

import math
import shutil

import numpy as np
import pytest
from playwright.sync_api import expect

from actfocus_core.analysis.comparison import compare
from actfocus_core.analysis.scoreboard import Truth, credits_of, scoreboard
from actfocus_core.credit import SCHEMES, Batch
from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind
from actfocus_studio.data.scored_batches import ScoredBatch
from actfocus_studio.data.token_credit import token_credit
from actfocus_studio.data.view import View
from tests.app.credit import credit_of
from tests.app.pages import plain as plain_text
from tests.app.routes import values
from tests.app.truth import with_truth

pytestmark = pytest.mark.browser

SCROLLED = """([panes, least]) => {
    const at = (pane) => {
        const box = pane.querySelector('.af-text');
        const top = box.getBoundingClientRect().top;
        const cards = [...box.children];
        const k = cards.findIndex((card) => card.getBoundingClientRect().bottom > top + 1);
        return [k, cards[k].getBoundingClientRect().top - top];
    };
    const places = panes.map(at);
    return panes[0].querySelector('.af-text').scrollTop > least
        && places.every(([k, offset]) => k === places[0][0] && Math.abs(offset - places[0][1]) <= 2);
}"""
"""Whether all panes show the same turn at the same height."""


@pytest.fixture(scope="module")
def plain(runs_dir):
    return Run.open(runs_dir / "plain")


def test_two_schemes_and_their_difference_on_the_same_tokens(app, plain):
    id = plain.index()["id"].iloc[2]
    app.open(f"run=plain&tab=compare&trajectory={id}&scheme_b=energy_only")
    page, t = app.compare, plain.trajectory(id)
    for k in range(3):
        assert page.tokens(k).all_text_contents() == t.texts
    a, b = credit_of(plain, "actfocus", id), credit_of(plain, "energy_only", id)
    scored = ScoredBatch.of(plain, t.step, "scripted")
    top = max(token_credit(scored, name, View(), id)[1] for name in ("actfocus", "energy_only"))
    expect(page.legend).to_contain_text(f"≥ +{top:.2f}")
    # Blue where A gives more, brown where it gives less, on the common scale.
    differ = a - b
    for i in (int(np.nanargmax(differ)), int(np.nanargmin(differ))):
        colour = page.tokens(2).nth(i).evaluate("node => getComputedStyle(node).backgroundColor")
        *rgb, opacity = (float(x) for x in colour.removeprefix("rgba(").removesuffix(")").split(","))
        assert rgb == ([33, 102, 172] if differ[i] > 0 else [179, 88, 6])
        assert opacity == pytest.approx(0.75 * min(abs(differ[i]) / top, 1), abs=0.004)
    page.show_table()
    for column, credit in (("credit A", a), ("credit B", b), ("A − B", a - b)):
        page.expect_credit(column, credit)
    # The sidebar's alpha changes ActFocus and nothing else.
    app.slide(alpha=0.6)
    page.expect_credit("credit A", credit_of(plain, "actfocus", id, alpha=0.6))
    page.expect_credit("credit B", b)


def test_the_tables_show_the_numbers_of_the_library(app, plain):
    id = plain.index()["id"].iloc[0]
    app.open(f"run=plain&tab=compare&trajectory={id}")
    page, batch = app.compare, Batch.of(plain.trajectories(0))
    comparison = compare(batch, credits_of(batch, list(SCHEMES), controls=False))
    expect(page.rows).to_have_count(len(SCHEMES))
    for row in comparison["schemes"]:
        shown = page.row(row["scheme"])
        expect(shown).to_contain_text(SCHEMES[row["scheme"]].source)
        if row["missing"]:
            expect(shown).to_contain_text(f"unavailable: no {', '.join(row['missing'])}")
            expect(shown.get_by_role("button").first).to_be_disabled()
            continue
        shares = [
            f"{100 * part['kinds'][kind]['mass_share']:.1f}"
            for part in (row, row["credit"])
            for kind in ("action", "reasoning", "format")
        ]
        counts = [f"{round(part['effective_tokens']):,}" for part in (row, row["credit"])]
        flips = "–" if math.isnan(row["sign_flips"]) else f"{100 * row['sign_flips']:.1f}"
        expect(shown.locator("td.num")).to_have_text([*shares[:3], counts[0], *shares[3:], counts[1], flips])
    names = list(comparison["spearman"])
    cells = [plain_text(text) for text in page.correlations.all_text_contents()]
    shown = [math.nan if text == "–" else float(text) for text in cells]
    np.testing.assert_allclose(shown, [comparison["spearman"][a][b] for a in names for b in names], atol=0.00501)
    # Null controls are shown on request.
    expect(page.row("shuffle:actfocus")).to_have_count(0)
    page.field("null controls").check()
    expect(page.row("shuffle:actfocus")).to_have_count(1)
    app.expect_address(controls=1)


def test_hover_and_scroll_are_linked_by_position(app, runs_dir):
    run = Run.open(runs_dir / "long")  # turns out of sight have estimated heights
    id = run.index()["id"].iloc[0]
    app.open(f"run=long&tab=compare&trajectory={id}")
    page, scored = app.compare, ScoredBatch.of(run, 0, "scripted")
    a, b = (values(token_credit(scored, name, View(), id)[0].credit) for name in ("actfocus", "uniform"))
    i = int(np.flatnonzero(run.trajectory(id).kinds == TokenKind.ACTION)[0])
    token = page.tokens(1).nth(i)
    token.hover()
    for k in range(3):
        page.expect_marked(k, i)
    expect(page.readout).to_contain_text(f"position {i}")
    for name, value in (("A", a[i]), ("B", b[i]), ("A − B", a[i] - b[i])):
        expect(page.readout).to_contain_text(f"{name} {'+' if value > 0 else ''}{value:.3f}".replace("-", "−"))
    # Keyboard: one tab stop per pane, arrow keys select tokens in all panes, and the readout is announced.
    expect(page.panes.first.locator(".t[tabindex='0']")).to_have_count(1)
    token.click()
    app.press("ArrowRight")
    for k in range(3):
        page.expect_marked(k, i + 1)
    expect(page.tokens(1).nth(i + 1)).to_be_focused()
    expect(page.root.locator(".af-spoken[aria-live=polite]")).to_contain_text(f"position {i + 1}")
    # Scrolling one pane brings the others to the same turn.
    page.panes.first.locator(".af-text").hover()
    app.page.mouse.wheel(0, 2400)
    app.page.wait_for_function(SCROLLED, arg=[page.panes.element_handles(), 2000])


def test_two_rollouts_two_steps_and_a_reload(app, plain):
    index = plain.index().set_index("id")
    left = index.index[1]
    app.open(f"run=plain&tab=compare&trajectory={left}&scheme_a=carl&scheme_b=gigpo")
    page = app.compare
    page.field("Source of B").select_option(label="same prompt, step 1")
    expect(page.panes).to_have_count(2)
    right = page.field("Rollout of B").input_value()
    assert index.loc[right, "step"] == 1 and index.loc[right, "seed"] == index.loc[left, "seed"]
    page.show_table()
    page.expect_credit("credit B", credit_of(plain, "gigpo", right))
    page.show_table(False)
    # The counterpart of a token has the same offset in the same turn.
    turns = [plain.trajectory(id).turns for id in (left, right)]
    i, j = (int(np.argmax(of == 0)) + 3 for of in turns)
    page.tokens(0).nth(i).hover()
    page.expect_marked(1, j)
    app.expect_address(other=right, tab="compare", scheme_a="carl", scheme_b="gigpo")
    app.reload()
    expect(page.head(0)).to_contain_text(f"CARL · step 0, rollout {index.loc[left, 'rollout']},")
    expect(page.head(1)).to_contain_text(f"GiGPO · step 1, rollout {index.loc[right, 'rollout']},")
    expect(page.scheme("A")).to_have_value("carl")
    expect(page.field("Rollout of B")).to_have_value(right)
    # Opening another trajectory resets pane B.
    page.scheme("A").blur()
    app.press("j")
    expect(page.panes).to_have_count(3)
    expect(page.field("Source of B")).to_have_value("-1")


def test_a_ground_truth_is_scored_where_it_is_known(app, plain, runs_dir):
    app.open("run=plain&tab=compare")
    page = app.compare
    expect(page.missing_truth).to_contain_text("optimal values (Q*, V*) and policy values")
    expect(page.missing_truth).to_contain_text("actfocus oracle")
    expect(page.missing_truth.get_by_role("button")).to_have_count(2)
    run = with_truth(runs_dir / "known", plain)
    app.open("run=known&tab=compare")
    expect(page.scoreboards).to_have_count(2)
    expect(page.missing_truth).to_have_count(0)
    batch = Batch.of(run.trajectories(0))
    board = scoreboard(batch, credits_of(batch, list(SCHEMES), controls=False), Truth.of(batch))
    first = page.scoreboards.first
    for row in board.rows:
        texts = [
            score.why
            if score.value is None
            else f"{score.value:z.2f} [{score.low:z.2f}, {score.high:z.2f}]".replace("-", "−")
            for score in row.scores.values()
        ]
        expect(first.locator(f"tr[data-scheme={row.name}] td")).to_have_text(texts)
    expect(first.locator("tr[data-scheme=uniform]")).to_contain_text("no ranking")
    assert board.skipped
    expect(first.locator("caption")).to_contain_text("Exact.")
    expect(first.locator("caption")).to_contain_text(
        f"{board.skipped} of {len(batch.ids)} rollouts have fewer than 3 distinct true values"
    )
    shutil.rmtree(run.path)


def test_the_setting_kept_as_b_is_a_scheme_and_the_tokens_are_a_table(app, plain):
    id = plain.index()["id"].iloc[5]
    app.open(f"run=plain&tab=compare&trajectory={id}")
    page = app.compare
    expect(page.scheme("B").locator("option[value=kept]")).to_be_disabled()
    app.slide(alpha=0.4, beta=1.5)
    app.choose(signal="entropy")
    app.page.get_by_role("button", name="Keep as B").click()
    app.slide(alpha=0.1, beta=0.5)
    app.choose(signal="energy")
    page.scheme("B").select_option("kept")
    app.expect_address(kept="0.4,1.5,entropy,batch,0", scheme_b="kept", beta=0.5)
    app.reload()
    expect(page.head(1)).to_contain_text("α 0.4, β 1.5, entropy")
    credit = credit_of(plain, "actfocus", id, alpha=0.4, beta=1.5, signal="entropy")
    page.show_table()
    expect(page.panes.first).to_be_hidden()
    page.expect_credit("credit B", credit)
    rows, t = page.root.locator(".af-token-rows tbody").get_by_role("row"), plain.trajectory(id)
    expect(rows).to_have_count(len(t))
    at = int(np.flatnonzero(t.kinds == TokenKind.ACTION)[0])
    cells = rows.nth(at).get_by_role("cell")
    expect(cells.nth(0)).to_have_text(str(at))
    expect(cells.nth(2)).to_have_text("action")
    expect(rows.first.get_by_role("cell").nth(5)).to_have_text("–")


def test_the_report_is_a_file(app, tmp_path):
    app.open("run=plain&tab=compare&step=0")
    with app.page.expect_download() as download:
        app.compare.button("Download report").click()
    file = tmp_path / "report.html"
    download.value.save_as(file)
    assert download.value.suggested_filename == "plain-step-0.html"
    text = file.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and "<script" not in text and "ActFocus" in text


def test_hostile_text_and_addresses_stay_text(app):
    hostile = "%3Cimg%20src%3Dx%20onerror%3Dwindow.__pwn%3D9%3E"
    app.open(f"run=hostile&tab=compare&scheme_a={hostile}&other=%24%7Bwindow.__pwn%3D8%7D")
    page = app.compare
    expect(page.panes).to_have_count(3)
    expect(page.alert).to_contain_text("no trajectory '${window.__pwn=8}'")
    app.expect_address(other=None)
    page.field("Source of B").select_option(index=1)
    expect(page.panes).to_have_count(2)
    page.tokens(0).nth(60).hover()
    app.expect_nothing_ran()
    expect(page.root.locator("img")).to_have_count(0)
    expect(page.scheme("A")).to_have_value("actfocus")


@pytest.mark.parametrize("width", [420, 800])
def test_the_page_fits_a_narrow_screen(app, width):
    app.page.set_viewport_size({"width": width, "height": 900})
    app.open("run=plain&tab=compare")
    app.expect_no_overflow(width)
