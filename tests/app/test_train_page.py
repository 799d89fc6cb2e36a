"""The Train page in a browser, with a real training process behind it."""

import os
import signal

import pytest
from playwright.sync_api import expect

from actfocus_core.runs import Run
from actfocus_core.train import read_status
from actfocus_studio.data import models
from actfocus_studio.jobs.experiments import Experiments
from tests.app.pages import LONG_MS, Studio
from tests.polling import until

pytestmark = pytest.mark.browser

NAMES = ["Uniform, seed 0", "ActFocus, seed 0"]


@pytest.fixture
def short(monkeypatch):
    """Twenty steps per run, with two prompts each: what is tested is the page, not the learning."""
    monkeypatch.setattr(Experiments, "rates", lambda self, env, algorithm, policy: ((1.0, 0.0), False))
    monkeypatch.setattr(
        "actfocus_studio.jobs.experiments.request.TIMES", {"30 seconds": 20, "2 minutes": 120, "5 minutes": 300}
    )
    arguments = Experiments._arguments
    small = ("prompts=2", "rollouts=4", "eval_prompts=2", "eval_rollouts=2", "mass_every=0")
    monkeypatch.setattr(
        Experiments,
        "_arguments",
        lambda self, race, run, out: [
            *arguments(self, race, run, out),
            "--time-budget",
            "900",
            *(part for text in small for part in ("--set", text)),
        ],
    )


def start(app, runs_dir) -> str:
    """Press Start, and wait for the first step of the new experiment; returns its id."""
    folder = runs_dir / ".races"
    known = set(folder.glob("*.json"))
    app.train.button("Start").click()
    (file,) = until(lambda: set(folder.glob("*.json")) - known)
    expect(app.train.head).to_contain_text(file.stem)
    expect(app.train.steps(0)).not_to_have_text("0 of 20", timeout=LONG_MS)
    return file.stem


def test_an_experiment_is_followed_reloaded_stopped_resumed_and_seen_by_others(app, chromium, runs_dir, short):
    app.open("tab=train")
    page, id = app.train, start(app, runs_dir)
    app.expect_address(race=id)
    # The curves grow.
    step = page.expect_drawn(NAMES[0], 1)
    page.expect_drawn(NAMES[0], step + 1)
    # A reload changes nothing but the page.
    app.reload()
    expect(page.head).to_contain_text(id)
    expect(page.steps(0)).not_to_have_text("0 of 20")
    page.press("Stop")
    page.expect_states("stopped", "suspended")
    names = [f"{id}-{scheme}-s0" for scheme in ("uniform", "actfocus")]
    assert read_status(runs_dir / names[0])["state"] == "stopped"
    # A second person sees the same.
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    other = Studio(context.new_page(), app.address).open(f"tab=train&race={id}")
    page.press("Resume")
    for one in (other, app):
        one.train.expect_states("finished", "finished")
        for name, label in zip(names, NAMES):
            rows = [row for row in Run.open(runs_dir / name).metrics()[0] if "success/rate" in row]
            one.train.expect_drawn(label, rows[-1]["step"])
            drawn = one.train.trace(label)
            assert drawn["x"] == [row["step"] for row in rows]
            assert drawn["y"] == [row["success/rate"] for row in rows]
        expect(one.train.comparison).to_contain_text("1 seed finished under both; at least 3 are needed")
    context.close()


def test_evaluations_are_shown_by_prompt_and_over_time(app, runs_dir, short):
    app.open("tab=train")
    page = app.train
    page.form.get_by_role("checkbox", name="ActFocus", exact=True).uncheck()
    expect(page.form).to_contain_text("1 run of")
    name = f"{start(app, runs_dir)}-uniform-s0"
    page.expect_states("finished")
    page.runs.first.get_by_role("button", name="evaluations").click()
    stored = Run.open(runs_dir / name / "evaluation" / "t1")
    index = stored.index()
    rates = index.groupby(["seed", "step"])["success"].mean()
    expect(page.cells).to_have_text([f"{100 * rate:.0f}" for rate in rates])
    # The first comparison is between the best evaluation before the last, and the last.
    means = index.groupby("step")["success"].mean().to_numpy()
    expect(page.field("from step")).to_have_value(str(int(means[:-1].argmax())))
    expect(page.field("to step")).to_have_value(str(len(means) - 1))
    # One prompt over time: the text of its first rollout at every evaluated step.
    rows = index[index["seed"] == index["seed"].min()].sort_values(["step", "rollout"]).groupby("step")["id"].first()
    page.prompts.first.click()
    slider = page.scrubber.get_by_role("slider", name="Evaluated step")
    for key, (step, id) in (("End", list(rows.items())[-1]), ("ArrowLeft", list(rows.items())[-2])):
        slider.press(key)
        expect(page.scrubber.locator("[aria-live]")).to_contain_text(f"Step {step}:")
        assert page.scrubber.locator(".t").all_text_contents() == stored.trajectory(id).texts
    # A cell opens its rollout on the Trace page.
    page.cells.first.click()
    app.expect_address(tab="trace", run=f"{name} evaluation t1")
    app.trace.ready()


def test_a_killed_run_says_so_with_the_end_of_its_log(app, runs_dir, short):
    app.open("tab=train")
    page = app.train
    page.form.get_by_role("checkbox", name="ActFocus", exact=True).uncheck()
    expect(page.form).to_contain_text("1 run of")
    id = start(app, runs_dir)
    pid = read_status(runs_dir / f"{id}-uniform-s0")["pid"]
    # Suspended, it cannot stop by itself before it is killed; once stopped, no studio starts it again.
    os.kill(pid, signal.SIGSTOP)
    page.press("Stop")
    until((runs_dir / ".races" / f"{id}.stop").exists)
    os.kill(pid, signal.SIGKILL)
    page.expect_states("killed: press Resume to continue")
    expect(page.state(0)).to_contain_text("SIGKILL")
    page.press("Resume")
    page.expect_states("finished")


def test_the_page_fits_a_narrow_screen_and_offers_what_is_installed(app, runs_dir):
    app.page.set_viewport_size({"width": 420, "height": 900})
    app.open("tab=train")
    app.expect_no_overflow(420)
    policy = app.train.form.get_by_label("Policy")
    installed = models.installed(runs_dir)
    expect(policy.locator("option")).to_have_text([model.title for model in installed])
    expect(policy).to_have_value("tiny")
    assert installed[0].name == "tiny"
