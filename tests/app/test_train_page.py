"""The Train page in a real browser, with a real training process behind it."""

import os
import signal

import pytest

from actfocus_core.runs import Run
from actfocus_core.train import read_status

pytestmark = pytest.mark.browser

STATE = "ActFocus.train.state"
PATIENCE = 240_000


@pytest.fixture
def short(monkeypatch):
    """Twenty seconds a run, and evaluations of four prompts."""
    from app.races import Races

    monkeypatch.setattr("app.races.TIMES", {"30 seconds": 20, "2 minutes": 120, "5 minutes": 300})
    command = Races._command
    monkeypatch.setattr(Races, "_command", lambda self, race, run: [
        *command(self, race, run), "--set", "eval_prompts=4", "--set", "eval_rollouts=2"])


def opened(page, studio, query=""):
    page.goto(f"{studio}/?tab=train{query}")
    page.get_by_text("one after another: about").wait_for()
    return page


def until(page, condition):
    page.wait_for_function(f"(() => {{ const race = window.ActFocus && ActFocus.train && {STATE}.race; return race && ({condition}); }})()",
                           timeout=PATIENCE)


def press(page, name):
    page.locator(".af-race-head").get_by_role("button", name=name).click()


def test_a_race_is_started_watched_reloaded_stopped_resumed_and_seen_by_others(page, chromium, studio, runs_dir, short):
    opened(page, studio)
    page.locator(".af-train-form").get_by_role("button", name="Start").click()
    until(page, "race.runs[0].step >= 1")
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
    page.locator(".af-train-form").get_by_role("button", name="Start").click()
    until(page, "race.runs.length === 1 && race.runs[0].step >= 1")
    name = page.evaluate(f"{STATE}.race.runs[0].name")
    press(page, "Stop")
    until(page, "race.runs[0].state === 'stopped'")
    press(page, "Go on")
    until(page, "race.runs[0].state === 'running'")
    page.evaluate("0")
    press(page, "Stop")
    os.kill(read_status(runs_dir / name)["pid"], signal.SIGKILL)
    page.get_by_text("killed: press Go on to resume").wait_for(timeout=PATIENCE)
    assert page.locator(".af-runs .af-log").count() == 1


@pytest.mark.parametrize("text", ["", "[]", "{", '{"op":"look"}', '{"op":"look","id":"../x","number":1}',
                                  '{"op":"start","request":{"time":"a year"},"number":2}', '{"op":"start","number":2}',
                                  '{"op":"log","id":"race-x-1","name":"../../etc/passwd","number":3}', '{"op":"rm","number":4}',
                                  '{"op":"ask","id":7,"what":"go","number":5}', "[" * 9000])
def test_a_bad_request_gives_one_clear_line(text, tmp_path):
    import json

    from app.pages.train import tell
    from app.races import Races
    from app.requests import answer

    races = Races(tmp_path)
    got = json.loads(answer(text, lambda asked: tell(races, asked)))
    assert set(got) == {"error", "number"} and got["error"] and "\n" not in got["error"]
    assert list(tmp_path.iterdir()) == []


def test_the_page_fits_a_narrow_screen(page, studio):
    page.set_viewport_size({"width": 420, "height": 900})
    opened(page, studio)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 420
