"""The charts of the Train page in a browser: a long run is sent once, lines are thinned, and seeds are averaged."""

import base64
import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest
from playwright.sync_api import expect

from actfocus_core.runs import Run
from actfocus_core.train.control import training_lock, write_status
from actfocus_studio.jobs.experiments import ExperimentRequest
from tests.app.pages import LONG_MS
from tests.app.pages.train import SUCCESS

pytestmark = pytest.mark.browser

ROWS = 250
ID = "race-long-1"


@pytest.fixture
def long(runs_dir):
    """An experiment whose two runs have more rows than one answer holds; the second one is still being trained."""
    names = [{"name": f"{ID}-{scheme}-s0", "scheme": scheme, "seed": 0} for scheme in ("uniform", "actfocus")]
    request = ExperimentRequest("FrozenLake, deterministic", "grpo", ["uniform", "actfocus"], 1, "5 minutes")
    folder = runs_dir / ".races"
    folder.mkdir(exist_ok=True)
    file = folder / f"{ID}.json"
    file.write_text(json.dumps({"id": ID, "made": 0.0, "request": asdict(request), "steps": 900, "runs": names}))
    rng = np.random.default_rng(3)
    runs = [
        Run.create(runs_dir / name["name"], {"command": "train", "env": "frozen_lake", "scheme": name["scheme"]})
        for name in names
    ]
    for run in runs:
        for step in range(ROWS):
            run.log(row(step, rng))
        write_status(run.path, state="running" if run is runs[-1] else "finished", step=ROWS - 1, elapsed=float(ROWS))
    with training_lock(runs[-1].path):
        yield runs
    file.unlink()
    for run in runs:
        shutil.rmtree(run.path)


def row(step, rng) -> dict:
    """Only metrics that a page draws are sent; ``private`` is not one of them."""
    return (
        {"step": step, "success/rate": float(rng.random()), "kl/update": float(rng.random()), "private": 1.0}
        | ({"eval/t1/success": 0.5} if step % 100 == 0 else {})
        | ({"eval/t1/success_low": 0.4, "eval/t1/success_high": 0.6} if step == 200 else {})
    )


def test_a_long_run_is_sent_once_and_then_only_what_is_new(app, long, monkeypatch):
    monkeypatch.setattr("actfocus_studio.jobs.experiments.experiments.ROWS_MAX", 100)
    answers = []
    app.page.on("response", lambda answer: answers.append(answer) if answer.url.endswith("/train/look") else None)
    app.open(f"tab=train&race={ID}")
    page, run = app.train, long[-1]
    for name in ("Uniform, seed 0", "ActFocus, seed 0"):
        page.expect_drawn(name, ROWS - 1)
        assert page.trace(name)["x"] == list(range(ROWS))
    # An interval stands with the evaluation that it belongs to: only the last one has bounds.
    expect(page.runs.first.get_by_role("cell").nth(2)).to_have_text("0.50")
    expect(page.runs.first.get_by_role("cell").nth(3)).to_have_text("0.50 [0.40, 0.60]")
    first = sent(answers)
    assert sum(first) == 2 * ROWS and max(first) <= 200 and len(first) >= 3, "in pieces"
    stop, plot = page.button("Stop"), page.plots.nth(SUCCESS)
    zoomed = zoom(app.page, plot)
    stop.focus()
    held = stop.element_handle()
    answers.clear()
    rng = np.random.default_rng(4)
    for step in range(ROWS, ROWS + 3):
        run.log(row(step, rng))
    write_status(run.path, state="running", step=ROWS + 2, elapsed=float(ROWS))
    expect(page.steps(1)).to_have_text(f"{ROWS + 2} of 900", timeout=LONG_MS)
    page.expect_drawn("ActFocus, seed 0", ROWS + 2)
    assert sum(sent(answers)) == 3, "only new rows"
    stored, drawn = {one["step"]: one["success/rate"] for one in run.metrics()[0]}, page.trace("ActFocus, seed 0")
    assert drawn["y"] == [stored[step] for step in drawn["x"]], "outside the visible range the line is thinned"
    # The focused button is still the same element, and the zoom is kept.
    assert held.evaluate("node => node.isConnected")
    expect(stop).to_be_focused()
    assert plot.evaluate("node => node.layout.xaxis.range") == pytest.approx(zoomed)


def sent(answers) -> list[int]:
    """The number of rows of metrics in every answer."""
    found = [answer.json()["runs"] for answer in list(answers)]
    assert not any("private" in run["metrics"] for runs in found for run in runs)
    return [sum(len(steps(run["metrics"])) for run in runs) for runs in found]


def steps(metrics: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(metrics.get("step", {"data": ""})["data"]), "<f8")


def zoom(page, plot) -> list[float]:
    """Drag over a part of a chart; returns the visible range of steps."""
    box = plot.locator(".nsewdrag").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.3 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], y, steps=5)
    page.mouse.up()
    page.wait_for_function(
        "node => node.layout.xaxis.range && node.layout.xaxis.range[0] > 0", arg=plot.element_handle()
    )
    return plot.evaluate("node => node.layout.xaxis.range")
