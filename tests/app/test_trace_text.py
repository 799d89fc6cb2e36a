"""Whatever an address or a trajectory holds, the Trace page shows it as text and stays valid."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.app.sample import HOSTILE

pytestmark = pytest.mark.browser


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
def test_a_hostile_address_gives_a_valid_view(app, query):
    trace = app.goto(query).ready().trace
    assert 0 <= float(app.slider("alpha").input_value()) <= 1 and 0 <= float(app.slider("beta").input_value()) <= 2
    expect(app.page.locator("#af-signal").get_by_label("energy", exact=True)).to_be_checked()
    app.leave_control()
    trace.open_table()
    weights = np.array(trace.column("weight"))
    assert np.nanmin(weights) >= 0 and np.isfinite(weights).sum() == sum(text != "–" for text in trace.cells("weight"))
    app.expect_nothing_ran()


def test_the_text_of_tokens_stays_text(app):
    trace = app.open("run=hostile").trace
    app.press("2", "3", "4", "5", "6", "1", "t", "]", "]", "t")
    texts = trace.texts()
    for text in HOSTILE:
        i = texts.index(text)
        trace.pin(i)
        expect(trace.token(i)).to_have_text(re.compile(f"^{re.escape(text)}$"))
    app.expect_nothing_ran()
    made = "#af-text img, #af-text script, #af-text b:not(.af-turn-head b), .af-inspector img"
    expect(app.page.locator(made)).to_have_count(0)
    assert not [url for url in app.traffic.urls if url.endswith("/x")]
