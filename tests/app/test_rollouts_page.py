"""The Rollouts page as a person uses it."""

import json
import re

import pytest
from playwright.sync_api import expect

from actfocus_core.listing import Cache, Listing
from actfocus_core.listing.query import Query, Search
from actfocus_core.runs import Run
from tests.app.pages import LONG_MS
from tests.app.pages.base import all_cells
from tests.app.sample import HOSTILE

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def listing(runs_dir, lists_cache) -> Listing:
    """The library's list of the run ``plain``; what it has computed the studio finds in the cache."""
    run = Run.open(runs_dir / "plain")
    made = Listing(run, reference="scripted", cache=Cache.of(run.path, lists_cache))
    made.compute()
    made.index_text()
    return made


def test_find_the_rollouts_that_a_scheme_changes_most_and_walk_them(app, listing):
    """From the list to Trace, along it with J and K, and back."""
    ids = listing.ids(Query(where="success is false", sort="change", descending=True))
    rollouts = app.open("run=plain&tab=rollouts").rollouts
    rollouts.sort_by("change")
    app.expect_address(sort="change", descending=1)
    expect(rollouts.head("change")).to_have_attribute("aria-sort", "descending")
    rollouts.chip("failure").click()
    app.expect_address(only="failure")
    rollouts.expect_total(len(ids))
    expect(rollouts.summary).to_have_text(f"{len(ids)} of 48 rollouts")
    assert all_cells(rollouts.table, "id") == ids
    rollouts.rows.nth(2).click()
    app.expect_address(tab="trace", trajectory=ids[2])
    picker = app.trace.root.get_by_role("navigation", name="Trajectories")
    expect(picker).to_contain_text(f"3 of {len(ids)}")
    expect(picker).to_contain_text("filtered, sorted by change, highest first")
    app.leave_control()
    for key, place in (("j", 3), ("j", 4), ("k", 3)):
        app.press(key)
        app.expect_address(trajectory=ids[place], tab="trace")
    picker.get_by_role("button", name="show the list").click()
    app.expect_address(tab="rollouts", trajectory=ids[3])
    expect(rollouts.table.get_by_role("row", selected=True)).to_contain_text(ids[3])
    app.tab("Trace")
    picker.get_by_role("button", name="clear").click()
    app.expect_address(only=None, sort=None, trajectory=ids[3])
    expect(picker).to_contain_text("of 48")


def test_the_address_lists_the_same_again(app, listing):
    query = "run=plain&tab=rollouts&only=malformed&in_step=1&where=tokens+>+200&sort=tokens&columns=tokens,turns"
    rollouts = app.open(query).rollouts
    ids = listing.ids(Query(where="malformed and step == 1 and tokens > 200", sort="tokens"))
    rollouts.expect_total(len(ids))
    assert rollouts.column("id") == ids and rollouts.heads.all_text_contents() == ["id", "turns", "tokens"]
    expect(rollouts.where).to_have_value("tokens > 200")
    expect(rollouts.chip("malformed")).to_have_attribute("aria-pressed", "true")
    expect(rollouts.root.get_by_label("Training step")).to_have_value("1")
    app.expect_address(where="tokens > 200", columns="tokens,turns")
    app.reload()
    rollouts.expect_total(len(ids))
    app.page.go_back()


def test_what_is_not_valid_in_the_address_is_left_out(app):
    app.open("run=plain&tab=rollouts&only=everything&in_step=-3&within=words&listed=nothing&end=middle&columns=,,")
    app.rollouts.expect_total(48)
    app.expect_address(only=None, in_step=None, within=None, listed=None, columns=None)


def test_search_with_text_and_regular_expression(app, listing):
    rollouts = app.open("run=plain&tab=rollouts").rollouts
    rollouts.search.fill("HOLE")
    found = listing.page(Query(search=Search("hole", ignore_case=True)), 0, 100, ["hits", "first_hit"])
    hits = sum(found.rows["hits"].to_pylist())
    expect(rollouts.found).to_have_text(f"{hits} hits in {found.total} rollouts")
    rollouts.button("Match case").click()
    expect(rollouts.found).to_have_text("0 hits in 0 rollouts")
    expect(rollouts.root.get_by_text("No rollout meets all of these conditions.")).to_be_visible()
    rollouts.button("Regular expression").click()
    rollouts.search.fill("h(ole")
    error = rollouts.root.get_by_role("search").get_by_role("alert")
    expect(error).to_contain_text("not a regular expression")
    expect(rollouts.search).to_have_attribute("aria-invalid", "true")
    rollouts.search.fill("h[aeiou]le")
    rollouts.root.get_by_label("Where to search").select_option("reasoning")
    query = Query(search=Search("h[aeiou]le", regex=True, kind="reasoning"))
    page = listing.page(query, 0, 100, ["first_hit"])
    rollouts.expect_total(page.total)
    expect(error).to_be_hidden()
    # It opens at the first hit, and so does the next one.
    rollouts.rows.first.click()
    app.expect_address(tab="trace", trajectory=page.ids[0], token=page.rows["first_hit"][0].as_py())
    app.leave_control()
    app.press("j")
    app.expect_address(trajectory=page.ids[1], token=page.rows["first_hit"][1].as_py())


def test_an_error_stands_beside_the_expression(app):
    rollouts = app.open("run=plain&tab=rollouts").rollouts
    rollouts.where.fill("tokens >")
    error = rollouts.root.get_by_role("group", name="Filters").get_by_role("alert")
    expect(error).to_have_text("character 9, at the end: expected a column or a value")
    rollouts.where.fill("tokens > 1")
    expect(error).to_be_hidden()
    rollouts.expect_total(48)
    rollouts.button("clear").click()
    expect(rollouts.where).to_have_value("")


def test_keyboard(app, listing):
    ids = listing.ids()
    rollouts = app.open("run=plain&tab=rollouts").rollouts
    rollouts.expect_total(48)
    table = rollouts.table
    table.focus()

    def current():
        return app.page.evaluate(
            "id => document.getElementById(id)?.textContent", table.get_attribute("aria-activedescendant")
        )

    app.press("Home", "ArrowDown", "ArrowDown")
    assert current() == ids[2]
    app.press("End")
    assert current() == ids[-1]
    app.press("PageUp", "PageDown", "ArrowUp")
    assert current() == ids[-2]
    app.press("ArrowRight")
    assert current() != ids[-2]
    app.press("Enter")
    app.expect_address(tab="trace", trajectory=ids[-2])


def test_computing_shows_its_progress_once_and_then_sorts(app):
    rollouts = app.open("run=plain&tab=rollouts&alpha=0.37").rollouts
    expect(rollouts.root.get_by_text("Not computed yet under this setting")).to_be_visible()
    assert set(rollouts.column("change")) == {"–"}
    rollouts.button("Compute them").click()
    expect(rollouts.root.get_by_text("Not computed yet")).to_be_hidden(timeout=LONG_MS)
    expect(rollouts.rows.first.get_by_role("gridcell").last).to_have_text(re.compile("%"), timeout=LONG_MS)
    rollouts.sort_by("change")
    app.expect_address(sort="change")
    rollouts.expect_total(48)
    shares = [float(text.removesuffix(" %")) for text in rollouts.column("change") if text != "–"]
    assert shares and shares == sorted(shares, reverse=True)


def test_columns_are_chosen(app):
    rollouts = app.open("run=plain&tab=rollouts").rollouts
    rollouts.choose_columns(reward=True, group=False)
    expect(rollouts.head("reward")).to_be_visible()
    expect(rollouts.head("group")).to_have_count(0)
    app.reload()
    expect(rollouts.head("reward")).to_be_visible()


def test_export(app, listing):
    rollouts = app.open("run=plain&tab=rollouts&only=failure&columns=tokens").rollouts
    with app.page.expect_download() as waiting:
        rollouts.button("Download the list as JSONL").click()
    with open(waiting.value.path(), encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    table = listing.page(Query(where="success is false"), 0, 100, ["id", "tokens"]).rows
    assert waiting.value.suggested_filename == "plain-rollouts.jsonl" and rows == table.to_pylist()


def test_the_highest_tokens_open_where_they_stand(app, listing):
    rollouts = app.open("run=plain&tab=rollouts&extreme=energy&token_kind=action").rollouts
    rollouts.show_tokens()
    expected = listing.extremes("energy", top=200, kind="action")
    expect(rollouts.tokens).to_have_attribute("aria-rowcount", str(len(expected) + 1), timeout=LONG_MS)
    assert all_cells(rollouts.tokens, "position")[:3] == [f"{token.token:,}" for token in expected[:3]]
    rollouts.tokens.locator("[data-row]").nth(1).click()
    app.expect_address(tab="trace", trajectory=expected[1].id, token=expected[1].token, turn=expected[1].turn)
    expect(app.trace.inspector).to_contain_text(str(expected[1].token))


def test_without_a_reference_the_page_offers_to_score(app):
    rollouts = app.open("run=unscored&tab=rollouts").rollouts
    expect(rollouts.root.get_by_text("No reference model has scored this run")).to_be_visible()
    expect(rollouts.button("Score …")).to_be_visible()


def test_hostile_texts_stay_texts(app):
    rollouts = app.open("run=hostile&tab=rollouts&columns=group,error").rollouts
    rollouts.search.fill(HOSTILE[0])
    expect(rollouts.found).to_have_text(re.compile(r"hits? in \d+ rollouts"))
    app.expect_nothing_ran()


def test_a_narrow_page_scrolls_the_table_alone(app):
    app.page.set_viewport_size({"width": 390, "height": 844})
    rollouts = app.open("run=plain&tab=rollouts").rollouts
    app.expect_no_overflow(390)
    # The first column stays where it is.
    left = rollouts.rows.first.get_by_role("rowheader").bounding_box()["x"]
    rollouts.table.evaluate("node => { node.scrollLeft = 200; }")
    assert rollouts.rows.first.get_by_role("rowheader").bounding_box()["x"] == left
