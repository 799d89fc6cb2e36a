"""The Train page in a real browser, with a real training process behind it."""

import json
import os
import shutil
import signal
from dataclasses import asdict

import numpy as np
import pytest

from actfocus_core.runs import Run
from actfocus_core.train import read_status
from actfocus_core.train.control import the_only_trainer, write_status
from actfocus_studio.data import models

pytestmark = pytest.mark.browser

STATE = "ActFocus.train.state"
PATIENCE = 240_000
ROWS = 250


@pytest.fixture
def short(monkeypatch):
    """Twenty steps a run, of two prompts each: what is shown is the page, not the learning."""
    from actfocus_studio.jobs.experiments import Experiments

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


@pytest.fixture
def long_race(runs_dir):
    """A race whose two runs have more rows than one answer brings; the second one is still being trained."""
    from actfocus_studio.jobs.experiments import ExperimentRequest

    names = [{"name": f"race-long-1-{scheme}-s0", "scheme": scheme, "seed": 0} for scheme in ("uniform", "actfocus")]
    asked = ExperimentRequest("FrozenLake, deterministic", "grpo", ["uniform", "actfocus"], 1, "5 minutes")
    races = runs_dir / ".races"
    races.mkdir(exist_ok=True)
    file = races / "race-long-1.json"
    file.write_text(
        json.dumps({"id": "race-long-1", "made": 0.0, "request": asdict(asked), "steps": 900, "runs": names})
    )
    rng = np.random.default_rng(3)
    runs = [
        Run.create(runs_dir / name["name"], {"command": "train", "env": "frozen_lake", "scheme": name["scheme"]})
        for name in names
    ]
    for run in runs:
        for step in range(ROWS):
            run.log(row(step, rng))
        write_status(run.path, state="running" if run is runs[-1] else "finished", step=ROWS - 1, elapsed=float(ROWS))
    with the_only_trainer(runs[-1].path):
        yield runs
    file.unlink()
    for run in runs:
        shutil.rmtree(run.path)


def row(step, rng):
    """Only the metrics that a page draws are sent: ``private`` is none."""
    return {"step": step, "success/rate": float(rng.random()), "kl/update": float(rng.random()), "private": 1.0} | (
        {"eval/t1/success": 0.5} if step % 100 == 0 else {}
    )


def test_a_long_run_is_sent_once_and_then_only_what_is_new(page, studio, runs_dir, long_race, monkeypatch):
    monkeypatch.setattr("actfocus_studio.jobs.experiments.experiments.ROWS_MAX", 100)
    answers = []
    page.on("response", lambda answer: answers.append(answer) if "/run/" in answer.url else None)
    page.goto(f"{studio}/?tab=train&race=race-long-1")
    run = long_race[-1]
    count = f"({STATE}.rows.get({run.path.name!r}) || []).length"
    until(page, f"{count} === {ROWS}")
    page.wait_for_function(
        "document.querySelectorAll('.af-race-plot .scatterlayer .trace path.js-line').length >= 4", timeout=PATIENCE
    )
    first = sent(answers)
    assert sum(first) == 2 * ROWS and max(first) <= 200 and len(first) >= 3, "in pieces"
    stop, plot = page.get_by_role("button", name="Stop"), page.locator(".af-race-plot").nth(1)
    stop.focus()
    held = stop.element_handle()
    zoomed = zoom(page, plot)
    answers.clear()
    rng = np.random.default_rng(4)
    for step in range(ROWS, ROWS + 3):
        run.log(row(step, rng))
    write_status(run.path, state="running", step=ROWS + 2, elapsed=float(ROWS))
    page.wait_for_function(f"{count} === {ROWS + 3}", timeout=PATIENCE)
    page.get_by_text(f"{ROWS + 2} of 900").wait_for()
    assert sum(sent(answers)) == 3, "only new rows"
    stored = run.metrics()[0]
    rows = page.evaluate(f"{STATE}.rows.get({run.path.name!r})")
    assert rows == [{name: value for name, value in one.items() if name != "private"} for one in stored]
    # The button under a person's finger is still the same one, and the zoom stays.
    assert held.evaluate("node => node.isConnected && document.activeElement === node")
    page.wait_for_function(f"plot => plot.data[1].x.at(-1) === {ROWS + 2}", arg=plot.element_handle(), timeout=PATIENCE)
    assert page.evaluate("plot => plot.layout.xaxis.range", plot.element_handle()) == pytest.approx(zoomed)


def sent(answers):
    """Rows of metrics in every answer that brought a race."""
    told = [data[0] for answer in list(answers) if (data := answer.json().get("data"))]
    races = [json.loads(one)["race"] for one in told if isinstance(one, str) and one.startswith('{"race":')]
    return [sum(len(run["columns"].get("step", [])) for run in race["runs"]) for race in races]


def zoom(page, plot):
    """Drag over a part of a chart; returns the steps in sight."""
    box = plot.locator(".nsewdrag").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.3 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], y, steps=5)
    page.mouse.up()
    page.wait_for_function(
        "plot => plot.layout.xaxis.range && plot.layout.xaxis.range[0] > 0", arg=plot.element_handle()
    )
    return page.evaluate("plot => plot.layout.xaxis.range", plot.element_handle())


def test_a_thinned_line_keeps_its_extremes_and_what_is_in_sight(page, studio):
    page.goto(f"{studio}/?tab=train")
    page.wait_for_function("window.ActFocus && ActFocus.series")
    rng = np.random.default_rng(5)
    x, y = np.arange(10_000), rng.normal(size=10_000).cumsum()

    def thin(sight):
        return page.evaluate(
            "([x, y, sight]) => ActFocus.series.thin(x, y, sight, 800)", [x.tolist(), y.tolist(), sight]
        )

    whole = thin(None)
    assert (
        len(whole["x"]) <= 803
        and whole["x"] == sorted(set(whole["x"]))
        and (whole["x"][0], whole["x"][-1]) == (0, 9999)
    )
    assert whole["y"] == y[whole["x"]].tolist() and (min(whole["y"]), max(whole["y"])) == (y.min(), y.max())
    for k in range(100):
        near = [v for at, v in zip(whole["x"], whole["y"]) if 100 * k <= at < 100 * (k + 1)]
        assert min(near) <= np.quantile(y[100 * k : 100 * (k + 1)], 0.1), "every piece keeps its lowest"
    close = thin([4000.5, 4300])
    assert set(range(4000, 4302)) <= set(close["x"]) and len(close["x"]) < 600 and close["x"][-1] == 9999


def test_the_mean_of_several_seeds_is_over_the_steps_that_all_have(page, studio):
    page.goto(f"{studio}/?tab=train")
    page.wait_for_function("window.ActFocus && ActFocus.series")
    found = page.evaluate("""() => {
      const { of, across } = ActFocus.series;
      const seeds = [[0, 1, 2, 4], [0, 2, 3, 4, 6], [0, 2, 4, 5]].map((steps, k) => steps.map((step) => ({ step, m: 10 * step + k })));
      const first = across(seeds.map((rows) => of(rows, 'm'))).x.slice();
      seeds.forEach((rows, k) => rows.push({ step: 9, m: 90 + k }, { step: 10 }));
      const { x, mean, low, high } = across(seeds.map((rows) => of(rows, 'm')));
      return { first, x, mean, low, high };
    }""")
    assert found == {
        "first": [0, 2, 4],
        "x": [0, 2, 4, 9],
        "mean": [1, 21, 41, 91],
        "low": [0, 20, 40, 90],
        "high": [2, 22, 42, 92],
    }


def opened(page, studio, query=""):
    page.goto(f"{studio}/?tab=train{query}")
    page.get_by_text("one after another: about").wait_for()
    return page


def until(page, condition):
    page.wait_for_function(
        f"(() => {{ const race = window.ActFocus && ActFocus.train && {STATE}.race; return race && ({condition}); }})()",
        timeout=PATIENCE,
    )


def start(page, runs_dir):
    """Press Start and wait for the new race's first step: another may be in sight until the answer is there."""
    known = [file.stem for file in (runs_dir / ".races").glob("*.json")] + [path.name for path in runs_dir.iterdir()]
    page.locator(".af-train-form").get_by_role("button", name="Start").click()
    until(page, f"!{known}.includes(race.id) && race.runs[0].step >= 1")


def press(page, name):
    page.locator(".af-race-head").get_by_role("button", name=name).click()


def test_a_race_is_started_watched_reloaded_stopped_resumed_and_seen_by_others(page, chromium, studio, runs_dir, short):
    opened(page, studio)
    start(page, runs_dir)
    race = page.evaluate(f"{STATE}.race.id")
    name = page.evaluate(f"{STATE}.race.runs[0].name")
    assert f"race={race}" in page.url or page.wait_for_timeout(500) is None and f"race={race}" in page.url
    # The curves grow.
    before = page.evaluate(f"{STATE}.rows.get({name!r}).length")
    page.wait_for_function(f"{STATE}.rows.get({name!r}).length > {before}", timeout=PATIENCE)
    page.wait_for_function("document.querySelector('.af-race-plot .scatterlayer .trace path.js-line')")
    # A reload changes nothing but the page.
    page.reload()
    until(page, f"race.id === {race!r} && race.runs[0].step >= 1")
    press(page, "Stop")
    until(page, "race.runs[0].state === 'stopped' || race.runs[0].state === 'finished'")
    stopped = read_status(runs_dir / name)
    assert stopped["state"] == "stopped"
    press(page, "Go on")
    # A second person sees it too.
    other = chromium.new_context().new_page()
    opened(other, studio, f"&race={race}")
    until(other, "race.runs.every((run) => run.state === 'finished')")
    until(page, "race.runs.every((run) => run.state === 'finished')")
    for run in page.evaluate(f"{STATE}.race.runs.map((run) => run.name)"):
        stored, _ = Run.open(runs_dir / run).metrics()
        for look in (page, other):
            look.wait_for_function(f"{STATE}.rows.get({run!r}).length === {len(stored)}", timeout=PATIENCE)
            rows = look.evaluate(f"{STATE}.rows.get({run!r})")
            assert [row["step"] for row in rows] == [row["step"] for row in stored]
            assert [row.get("success/rate") for row in rows] == [row.get("success/rate") for row in stored]
            assert rows[-1]["eval/t1/success"] == stored[-1]["eval/t1/success"]
    assert "too few to say which is better" in page.locator(".af-race-claim").text_content()
    other.context.close()
    # The evaluations, prompt by prompt; a cell leads to the Trace page.
    page.get_by_role("button", name="evaluations").first.click()
    page.locator(".af-cell").first.wait_for()
    index = Run.open(runs_dir / name / "evaluation" / "t1").index()
    told = [int(text) for text in page.locator(".af-cell").all_text_contents()]
    rates = index.groupby(["seed", "step"])["success"].mean()
    assert told == [round(100 * rate) for rate in rates]
    # What is asked after first: what was lost since the best evaluation before the last.
    means = index.groupby("step")["success"].mean().to_numpy()[:-1]
    assert page.get_by_label("from step").input_value() == str(int(means.argmax()))
    # A prompt over time: the text of its first rollout at every evaluated step.
    prompt = int(index["seed"].min())
    rows = index[index["seed"] == prompt].sort_values(["step", "rollout"]).groupby("step")["id"].first()
    page.locator(".af-cells th button").first.click()
    page.locator(".af-overtime").wait_for()
    stored = Run.open(runs_dir / name / "evaluation" / "t1")
    for key, (step, id) in (("End", list(rows.items())[-1]), ("ArrowLeft", list(rows.items())[-2])):
        page.locator(".af-overtime input").press(key)
        assert page.locator(".af-overtime-told").text_content().startswith(f"Step {step}:")
        assert "".join(page.locator(".af-overtime-text .t").all_text_contents()) == "".join(stored.trajectory(id).texts)
    page.locator(".af-cells .af-cell").first.click()
    page.wait_for_function(f"ActFocus.store.place.run === {f'{name} evaluation t1'!r} && ActFocus.trace.state.painted")
    assert page.locator("#af-text").is_visible()


def test_a_killed_run_says_so_with_the_end_of_its_log(page, studio, runs_dir, short):
    opened(page, studio)
    for box in page.locator(".af-train-form input[type=checkbox]").all()[1:2]:
        box.uncheck()
    page.get_by_text("1 run of").wait_for()
    start(page, runs_dir)
    assert page.evaluate(f"{STATE}.race.runs.length") == 1
    name = page.evaluate(f"{STATE}.race.runs[0].name")
    press(page, "Stop")
    until(page, "race.runs[0].state === 'stopped'")
    press(page, "Go on")
    until(page, "race.runs[0].state === 'running'")
    press(page, "Stop")
    os.kill(read_status(runs_dir / name)["pid"], signal.SIGKILL)
    page.get_by_text("killed: press Go on to resume").wait_for(timeout=PATIENCE)
    assert page.locator(".af-runs .af-log").count() == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"op":"look"}',
        '{"op":"look","id":"../x","number":1}',
        '{"op":"start","request":{"time":"a year"},"number":2}',
        '{"op":"start","number":2}',
        '{"op":"log","id":"race-x-1","name":"../../etc/passwd","number":3}',
        '{"op":"rm","number":4}',
        '{"op":"ask","id":7,"what":"go","number":5}',
        "[" * 9000,
    ],
)
def test_a_bad_request_gives_one_clear_line(text, tmp_path):
    import json

    from actfocus_studio.jobs.experiments import Experiments
    from actfocus_studio.pages.train.page import handle
    from actfocus_studio.shell.requests import answer

    races = Experiments(tmp_path)
    got = json.loads(answer(text, lambda asked: handle(races, asked)))
    assert set(got) == {"error", "number"} and got["error"] and "\n" not in got["error"]
    assert list(tmp_path.iterdir()) == []


def test_the_page_fits_a_narrow_screen_and_offers_what_is_installed(page, studio, runs_dir):
    page.set_viewport_size({"width": 420, "height": 900})
    opened(page, studio)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 420
    offered = (
        page.get_by_label("Policy")
        .locator("option")
        .evaluate_all("(all) => all.map((one) => [one.value, one.textContent])")
    )
    assert offered == [[model.name, model.title] for model in models.installed(runs_dir)] and offered[0][0] == "tiny"
    assert page.evaluate("ActFocus.train.state.form.policy.value") == "tiny"
