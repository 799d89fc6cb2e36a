"""A text edited in the What-if panel, and what an address may say of the panel."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from actfocus_core.counterfactual import store
from tests.app.pages import plain
from tests.app.sample import interesting_trajectory

pytestmark = pytest.mark.browser


def test_a_span_is_edited_and_the_original_stays(app, sampled_run):
    id = interesting_trajectory(sampled_run)
    panel = app.open(f"run=sampled-lake&trajectory={id}&whatif=edit").whatif
    panel.ready()
    panel.field("Replace").select_option("answer")
    panel.field("New text").fill("<img src=x onerror=window.__pwn=1>")
    panel.start("Edit and score")
    panel.expect_answer()
    app.page.wait_for_url(re.compile(r"whatif=edit-[0-9a-f]{12}"))
    what = store.load(sampled_run, app.parameters()["whatif"])
    original, edited = what.trajectories
    assert original.id == id and what.request["span"] == what.result["span"]
    text = plain(panel.root.text_content())
    assert "the edited reply names other actions" in text and "“<img src=x onerror=window.__pwn=1>”" in text
    assert [panel.pane_text(0), panel.pane_text(1)] == ["".join(original.texts), "".join(edited.texts)]
    # Both are coloured by their credit on one scale: pulled up is blue, pushed down is brown.
    credits = [t.signals["credit:actfocus"] for t in what.trajectories]
    top = max(np.nanmax(np.abs(credit)) for credit in credits)
    for k, credit in enumerate(credits):
        colours = panel.tokens(k).evaluate_all("nodes => nodes.map((node) => node.style.backgroundColor)")
        i = int(np.nanargmax(np.abs(credit)))
        *rgb, opacity = (float(x) for x in re.findall(r"[\d.]+", colours[i]))
        assert rgb == ([33, 102, 172] if credit[i] > 0 else [179, 88, 6])
        assert opacity == pytest.approx(0.75 * abs(credit[i]) / top, abs=0.01)
    # A token after the edit is linked to the one it was.
    stop = what.result["span"][1]
    panel.token(0, stop).hover()
    expect(panel.token(1, stop + what.result["shift"])).to_have_class(re.compile(r"\bhot\b"))
    before, after = what.result["energy"]["span"]
    assert f"Mean energy of the span {before:.2f} → {after:.2f}" in text
    app.expect_nothing_ran()


def test_what_the_address_says_is_checked_and_text_stays_text(app, sampled_run):
    panel = app.whatif
    app.open("run=sampled-lake&whatif=%3Cimg%20src%3Dx%20onerror%3Dwindow.__pwn%3D1%3E&motion=x&stage=99")
    app.expect_address(whatif=None)
    expect(panel.root).to_have_count(0)
    app.open("run=sampled-lake&whatif=replay-000000000000")
    expect(panel.alert).to_contain_text("has no what-if 'replay-000000000000'")
    app.open("run=hostile&whatif=branch")
    expect(panel.root).to_contain_text("is not here")
    app.expect_nothing_ran()


@pytest.mark.parametrize("width", [420, 800])
def test_the_panel_fits_a_narrow_screen(app, sampled_run, width):
    app.page.set_viewport_size({"width": width, "height": 900})
    panel = app.open("run=sampled-lake&whatif=replay").whatif
    expect(panel.button("Replay")).to_be_visible()
    assert panel.root.evaluate("node => node.scrollWidth") <= width
