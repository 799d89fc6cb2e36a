"""The rollouts of a group side by side, in a real Chromium."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from actfocus_core.credit import Batch, get_scheme
from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_studio.data.batch_cache import constants
from tests.app.pages import plain

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def mates() -> list:
    """A group of the bundled run."""
    batch = Run.open(assets() / "runs" / "frozen-lake").trajectories(0)
    return [t for t in batch if t.group == batch[40].group]


def shared(rollouts) -> int:
    """The number of tokens that rollouts begin with alike."""
    columns = zip(*(t.token_ids for t in rollouts))
    return next((n for n, column in enumerate(columns) if len(set(column)) > 1), min(map(len, rollouts)))


def test_columns_begin_where_the_rollouts_differ(app, mates):
    groups = app.open(f"tab=groups&run=frozen-lake&group={mates[0].group}&beside=0,2,5").groups
    expect(groups.columns).to_have_count(3)
    expect(groups.ribbons).to_have_count(0)
    chosen = [mates[k] for k in (0, 2, 5)]
    n = shared(chosen)
    expect(groups.shared).to_contain_text(f"All 3 begin with the same {n} tokens")
    assert (
        groups.shared.locator(".t").evaluate_all("nodes => nodes.map((node) => node.textContent)")
        == chosen[0].texts[:n]
    )
    advantages = constants(Run.open(assets() / "runs" / "frozen-lake").trajectories(0)).advantages
    for column, t in zip(groups.columns.all(), chosen, strict=True):
        assert column.locator(".t").evaluate_all("nodes => nodes.map((node) => node.textContent)") == t.texts[n:]
        head = plain(column.locator("header").first.inner_text())
        assert f"return {t.ret:.2f}" in head and f"advantage {advantages[t.id]:+.2f}" in head
        assert ("success" if t.success else "failure") in head and f"{len(t) - n} tokens from here" in head
    # One more and one less; the address keeps them.
    groups.chip(mates[7].rollout).click()
    expect(groups.columns).to_have_count(4)
    groups.chip(mates[0].rollout).click()
    expect(groups.columns).to_have_count(3)
    app.expect_address(beside="2,5,7")
    groups.view("Ribbons").click()
    expect(groups.ribbons).to_have_count(len(mates))
    app.expect_address(beside=None)
    groups.view("Side by side").click()
    expect(groups.columns).to_have_count(4)


def test_tokens_have_the_credit_of_the_scheme_chosen(app, mates):
    groups = app.open(f"tab=groups&run=frozen-lake&group={mates[0].group}&beside=0,1").groups
    batch = Batch.of(Run.open(assets() / "runs" / "frozen-lake").trajectories(0))
    at = batch.index == batch.ids.index(mates[1].id)
    n = shared(mates[:2])
    first = n + int(np.flatnonzero(mates[1].kinds[n:] == 4)[0])
    token = groups.text_of(mates[1].rollout).locator(".t").nth(first - n)
    for scheme in ("actfocus", "uniform"):
        groups.field("Coloured by the credit of").select_option(scheme)
        credit = float((get_scheme(scheme).compute(batch).effective() * batch.response.sum())[at][first])
        expect(groups.root.locator(".af-ramp")).to_be_visible()
        expect(token).to_have_attribute("style", re.compile("background"))
        app.expect_address(scheme_a=scheme)
        token.hover()
        expect(groups.readout).to_contain_text(f"position {first}")
        expect(groups.readout).to_contain_text(f"rollout {mates[1].rollout} {credit:+.3f}".replace("-", "\u2212"))
        groups.readout.hover()


def test_columns_scroll_together_and_the_keyboard_goes_across(app):
    groups = app.open("tab=groups&run=long&group=00000-1&beside=0,1").groups
    expect(groups.columns).to_have_count(2)
    left, right = groups.text_of(0), groups.text_of(1)
    first = left.locator(".t[tabindex='0']")
    first.focus()
    app.press("ArrowRight")
    expect(left.locator(".t:focus")).to_have_attribute("data-i", str(int(first.get_attribute("data-i"))))
    app.press("Shift+ArrowRight")
    expect(right.locator(".t:focus")).to_have_count(1)
    app.press("Shift+ArrowLeft")
    expect(left.locator(".t:focus")).to_have_count(1)
    left.hover()
    app.page.mouse.wheel(0, 1500)
    app.page.wait_for_function("node => node.scrollTop > 300", arg=right.element_handle())


def test_a_group_without_spread_says_so_and_a_narrow_screen_stacks_the_columns(app, mates):
    run = Run.open(assets() / "runs" / "frozen-lake")
    returns = run.index().groupby("group")["return"]
    flat = returns.max()[returns.max() == returns.min()].index[0]
    app.page.set_viewport_size({"width": 390, "height": 844})
    groups = app.open(f"tab=groups&run=frozen-lake&group={flat}&beside=usual").groups
    expect(groups.columns).to_have_count(4)
    opened = groups.root.locator(".af-open")
    expect(opened.locator(".af-open-head")).to_contain_text("no spread: advantages are 0")
    boxes = [column.bounding_box() for column in groups.columns.all()]
    assert len({box["x"] for box in boxes}) == 1 and all(a["y"] < b["y"] for a, b in zip(boxes, boxes[1:]))
    app.expect_no_overflow(390)
    expect(groups.columns.first).to_contain_text(re.compile("advantage 0.00"))


def test_hostile_tokens_and_ids_stay_text(app):
    groups = app.open("tab=groups&run=hostile").groups
    groups.rows.first.click()
    groups.view("Side by side").click()
    expect(groups.columns).to_have_count(4)
    groups.text_of(0).locator(".t").first.hover()
    expect(groups.root.locator("img")).to_have_count(0)
    app.expect_nothing_ran()
