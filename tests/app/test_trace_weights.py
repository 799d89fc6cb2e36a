"""Weights on the Trace page: they are Python's, follow the sidebar, and are kept by the address."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from actfocus_core.analysis.diagnostics import gradient_mass
from actfocus_core.credit import signal_stats, token_weights
from actfocus_core.runs import Run
from actfocus_core.signals import signal_values
from actfocus_core.trajectory import Trajectory
from tests.app.pages import plain

pytestmark = pytest.mark.browser

SIGNALS = {"energy": "energy", "entropy": "entropy", "surprise": "nll", "shift": "shift"}
ROUNDED = 5.1e-4
"""The tables of the page have three decimals."""


def shown(app, runs_dir) -> tuple[Trajectory, list[Trajectory]]:
    """The trajectory on the page and its batch."""
    run = Run.open(runs_dir / app.run.input_value())
    t = run.trajectory(app.trace.trajectory())
    return t, run.trajectories(t.step)


def batch_values(batch: list[Trajectory], signal: str) -> tuple[np.ndarray, np.ndarray]:
    """Kinds and signal of all tokens of a batch."""
    return np.concatenate([t.kinds for t in batch]), np.concatenate([signal_values(t, signal) for t in batch])


@pytest.mark.parametrize("title", SIGNALS)
def test_the_weights_are_those_of_python(app, runs_dir, title):
    app.open().choose(signal=title)
    app.slide(alpha=0.35, beta=1.25)
    app.trace.open_table()
    t, batch = shown(app, runs_dir)
    stats = signal_stats(*batch_values(batch, SIGNALS[title]))
    weights = token_weights(t.kinds, signal_values(t, SIGNALS[title]), 0.35, 1.25, stats=stats)
    written = t.kinds >= 3
    found = np.array(app.trace.column("weight"))
    np.testing.assert_allclose(found[written], weights[written], atol=ROUNDED)
    assert np.isnan(found[~written]).all(), "a token that was only read has no weight"


def test_moving_alpha_moves_the_gradient_share(app, runs_dir):
    app.open().slide(alpha=0.6)
    _, batch = shown(app, runs_dir)
    kinds, energies = batch_values(batch, "energy")
    mass = gradient_mass(kinds, token_weights(kinds, energies, 0.6, 0.5))
    share = re.compile(rf"carry {100 * mass['kinds']['action']['mass_share']:.0f}\s%")
    expect(app.trace.gradient_share).to_contain_text(share)
    expect(app.preset("Custom")).to_be_checked()


def test_presets_set_the_sliders(app):
    app.open()
    for title, pair in (
        ("Uniform", (1, 0)),
        ("Role only", (0.1, 0)),
        ("Energy only", (1, 0.5)),
        ("ActFocus", (0.1, 0.5)),
    ):
        app.preset(title).check()
        app.expect_sliders(*pair)
        app.expect_address(alpha=pair[0], beta=pair[1])
    app.trace.open_table()
    weights = np.array(app.trace.column("weight"))
    assert np.nanmin(weights) == 0.1 and np.nanmax(weights) > 1


RECOLOUR = """async ([first, last]) => {
  const range = document.querySelector('#af-alpha input[type=range]');
  const painted = (node) => new Promise((done) => new MutationObserver((_, observer) => {
    observer.disconnect();
    done();
  }).observe(node, { attributes: true, attributeFilter: ['style'] }));
  const counts = [];
  for (let k = 0; k < 14; k++) {
    let frames = 0, over = false;
    const count = () => { frames += 1; if (!over) requestAnimationFrame(count); };
    requestAnimationFrame(count);
    const [seen, rest] = [painted(first), painted(last)];
    range.value = 0.05 + 0.06 * k;
    range.dispatchEvent(new Event('input', { bubbles: true }));
    await seen;
    over = true;
    counts.push(frames);
    // What is out of sight follows, and the next event comes when the page is idle: in no step with the frames.
    await rest;
    await new Promise((idle) => requestIdleCallback(idle));
  }
  return counts;
}"""


def test_alpha_recolours_four_thousand_tokens_within_two_frames(app, runs_dir):
    """From the slider's event to the frame that paints them; benchmarks/load.py measures the milliseconds."""
    index = Run.open(runs_dir / "long").index()
    trace = app.open(f"run=long&trajectory={index[index.n_tokens >= 4000].iloc[0].id}").trace
    assert 4000 <= trace.tokens.count() < 6000
    expect(trace.chart).to_be_attached()
    reasoning = trace.text.locator(".t.k3")
    ends = [reasoning.first.element_handle(), reasoning.last.element_handle()]
    counts = app.page.evaluate(RECOLOUR, ends)
    assert len(counts) == 14 and max(counts) <= 2, counts
    # Every reasoning token, in sight or not, has the colour of its weight.
    assert len(set(reasoning.evaluate_all("nodes => nodes.map((node) => node.style.backgroundColor)"))) == 1


def test_the_address_restores_the_view(app):
    trace = app.open().trace
    first = trace.trajectory()
    app.press("j")
    expect(trace.id_box).not_to_have_value(first)
    app.slide(alpha=0.42, beta=1.1)
    app.choose(signal="surprise", scope="group", by_advantage=True)
    app.leave_control()
    app.press("ArrowRight", "3", "]")
    trace.expect_colour("Energy")
    id, pinned = trace.trajectory(), trace.pinned()
    turn = trace.scrubber.input_value()
    trace.open_table()
    weights = trace.cells("weight")
    app.expect_address(
        trajectory=id, token=pinned, turn=turn, color="energy", alpha=0.42, beta=1.1, signal="nll", adv=1
    )
    address = app.page.url
    app.page.goto("about:blank")
    app.page.goto(address)
    app.ready()
    assert (trace.trajectory(), trace.pinned()) == (id, pinned) and id != first
    trace.expect_turn(int(turn))
    trace.expect_colour("Energy")
    app.expect_sliders(0.42, 1.1)
    expect(trace.text.locator(".t.pin")).to_have_count(1)
    trace.open_table()
    assert trace.cells("weight") == weights


def test_settings_a_and_b_are_swapped(app):
    app.open()
    app.page.get_by_role("button", name="Keep as B").click()
    app.preset("Uniform").check()
    app.expect_sliders(1, 0)
    app.expect_address(alpha=1, beta=0)
    app.leave_control()
    app.press("b")
    app.expect_sliders(0.1, 0.5)
    app.press("b")
    app.expect_sliders(1, 0)


def test_the_pinned_token_shows_its_numbers(app, runs_dir):
    trace = app.open().trace
    t, batch = shown(app, runs_dir)
    i = int(np.flatnonzero(t.kinds == 4)[0])
    trace.pin(i)
    text = plain(trace.inspector.inner_text())
    stats = signal_stats(*batch_values(batch, "energy"))
    weight = token_weights(t.kinds, signal_values(t, "energy"), 0.1, 0.5, stats=stats)[i]
    for number in (t.token_ids[i], f"{signal_values(t, 'energy')[i]:.3f}", f"{weight:.3f}", f"{t.logprobs[i]:.3f}"):
        assert str(number) in text, (number, text)
    expect(app.page.locator("[aria-live=polite]").get_by_text(f"position {i}, weight {weight:.2f}")).to_be_attached()


def test_what_was_not_recorded_is_unavailable_and_never_zero(app, runs_dir):
    trace = app.open("run=unscored").trace
    expect(app.header).to_contain_text("unavailable")
    t, _ = shown(app, runs_dir)
    trace.pin(int(np.flatnonzero(t.kinds == 4)[0]))
    assert trace.inspector.inner_text().count("unavailable") >= 3
    app.preset("Role only").check()
    expect(trace.inspector).to_contain_text(re.compile(r"weight w\s*1\.000"))
