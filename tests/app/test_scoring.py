"""Scoring from a page: a sample, weights in the open page while the job goes on, cancel and resume."""

import shutil

import pytest
from playwright.sync_api import expect

from actfocus_core.policy import load_policy
from actfocus_core.runs import Run
from actfocus_core.scoring import score_run
from actfocus_studio.data.batch_cache import constants
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.jobs.experiments import Experiments
from actfocus_studio.jobs.signals import SAMPLE, Signals
from actfocus_studio.panels.scoring.api import api
from actfocus_studio.shell.studio import Studio
from tests.app.pages import LONG_MS
from tests.app.routes import Routes
from tests.app.sample import make_run
from tests.polling import until

GROUPS = 12


@pytest.fixture
def unscored(runs_dir):
    """A run of more groups than a sample has."""
    yield make_run(runs_dir / "to-sample", prompts=GROUPS, rollouts=2, scored=False)
    shutil.rmtree(runs_dir / "to-sample")


@pytest.fixture
def routes(unscored, runs_dir):
    studio = Studio(Catalog([unscored.path], runs_dir), Experiments(runs_dir), signals=Signals(runs_dir))
    yield Routes(api(studio), "scoring")
    studio.signals.cancel()


def _done(routes) -> dict:
    return until(lambda: (found := routes.ask("look"))["job"]["state"] != "running" and found)


def _scored(run) -> set[str]:
    return {t.group for t in Run.open(run.path).trajectories(0) if "ref_energy" in t.signals}


def test_a_sample_is_measured_and_the_rest_goes_on_from_it(routes, unscored):
    offered = routes.ask("references", run="to-sample")
    assert (offered["groups"], offered["sample"], offered["references"][0]["name"]) == (GROUPS, SAMPLE, "tiny")
    last = unscored.index().iloc[-1]
    routes.ask("start", run="to-sample", reference="tiny", groups=SAMPLE, first=last["id"])
    found = _done(routes)
    assert found["job"]["state"] == "done" and found["reference"] == "tiny"
    assert found["sample"]["groups_left"] == GROUPS - SAMPLE and found["sample"]["seconds_left"] > 0
    assert last["group"] in _scored(unscored) and len(_scored(unscored)) == SAMPLE
    assert routes.ask("references", run="to-sample")["references"][0]["groups_left"] == GROUPS - SAMPLE
    routes.ask("start", run="to-sample", reference="tiny")
    assert _done(routes)["sample"]["groups"] == GROUPS - SAMPLE and len(_scored(unscored)) == GROUPS


def test_a_cancelled_job_keeps_what_it_has(routes, unscored):
    routes.ask("start", run="to-sample", reference="tiny")
    until(lambda: routes.ask("look")["job"]["done"])
    assert routes.ask("cancel")["job"]["state"] in ("cancelled", "done")
    kept = _scored(unscored)
    assert kept
    routes.ask("start", run="to-sample", reference="tiny")
    assert _done(routes)["sample"]["groups"] == GROUPS - len(kept) and len(_scored(unscored)) == GROUPS


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"run": "/etc"}, "there is no run"),
        ({"reference": "--help"}, "unknown reference model"),
        ({"reference": "/etc"}, "unknown reference model"),
        ({"groups": 0}, "groups: "),
        ({"groups": "8"}, "groups: "),
        ({"first": "x" * 5000}, "first: "),
        ({"resume": False}, "resume: Extra inputs are not permitted"),
    ],
)
def test_hostile_requests_start_nothing(routes, change, says):
    answer = routes.ask("start", **{"run": "to-sample", "reference": "tiny", **change})
    assert says in answer["error"] and "\n" not in answer["error"]
    assert routes.ask("look")["job"]["state"] == "idle"


def test_an_unknown_trajectory_is_one_line(routes, unscored):
    routes.ask("start", run="to-sample", reference="tiny", first="nobody")
    job = _done(routes)["job"]
    assert job["state"] == "failed" and "no trajectory 'nobody'" in job["message"] and not _scored(unscored)


def test_sums_are_those_of_the_scored_part(unscored):
    """A part that is scored has the statistics of a run that holds nothing else."""
    score_run(unscored, load_policy("tiny", "cpu"), groups=3)
    ts = unscored.trajectories(0)
    scored, others = [t for t in ts if "ref_energy" in t.signals], [t for t in ts if "ref_energy" not in t.signals]
    batch, alone = constants(ts), constants(scored)
    for t in scored:
        sums = batch.of(t)
        assert (sums.trajectories, sums.unscored) == (6, 2 * GROUPS - 6)
        assert sums.model_copy(update={"unscored": 0}) == alone.of(t)
    sums = batch.of(others[0])
    assert (sums.trajectories, sums.unscored, sums.signals["energy"]) == (2 * GROUPS, 2 * GROUPS - 6, None)
    assert sums.advantage is not None


@pytest.mark.browser
def test_weights_appear_in_the_open_page_after_a_sample_and_the_rest_is_scored(app, unscored):
    app.open("run=to-sample")
    shares = app.trace.region("Gradient share")
    expect(shares).to_contain_text("unavailable: energy was not recorded")
    shares.get_by_role("button", name="Score …").first.click()
    expect(app.scoring.button(f"Score {GROUPS} groups")).to_be_visible()
    app.scoring.start(f"Score {SAMPLE} groups")
    expect(shares).to_contain_text(f"Batch: {2 * SAMPLE} trajectories that tiny scored", timeout=LONG_MS)
    expect(shares).to_contain_text("of the weight")
    job = app.trace.root.get_by_role("status")
    expect(job).to_contain_text(f"{SAMPLE} of {GROUPS} groups of to-sample")
    expect(job).to_contain_text("the rest takes about")
    # A rollout that was not scored says so.
    app.open(f"run=to-sample&trajectory={unscored.index()['id'].iloc[-1]}")
    expect(shares).to_contain_text("not scored yet, this one too")
    app.open("run=to-sample")
    shares.get_by_role("button", name="Score …").first.wait_for(state="hidden")


@pytest.mark.browser
def test_a_bad_folder_is_one_line_in_the_dialog(app, unscored):
    app.open("run=to-sample")
    app.trace.region("Gradient share").get_by_role("button", name="Score …").first.click()
    app.scoring.reference.select_option("folder:")
    app.scoring.field("Folder of the reference model").fill("/nowhere")
    app.scoring.button(f"Score {GROUPS} groups").click()
    expect(app.scoring.alert).to_contain_text("unknown reference model")
    app.press("Escape")
    expect(app.scoring.root).to_be_hidden()
