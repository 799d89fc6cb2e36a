"""Requests of the Train page: comparisons of schemes with intervals, evaluations, and one line for a bad request."""

import base64
import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats
from starlette.testclient import TestClient

from actfocus_core.runs import Run
from actfocus_core.train.control import write_status
from actfocus_studio.jobs.experiments import ExperimentRequest, Experiments
from actfocus_studio.jobs.experiments.evaluations import comparisons
from actfocus_studio.main import build
from actfocus_studio.pages.train.api import look
from actfocus_studio.pages.train.evaluation import evaluations
from actfocus_studio.server.api import API
from tests.app.experiments import GOOD
from tests.app.sample import make_run

ID = "race-frozen-lake-1"


def store(runs_dir, success: dict[str, list[float]]) -> Experiments:
    """An experiment whose runs have these success rates in their last evaluation, a seed each; all have finished."""
    experiments = Experiments(runs_dir)
    experiments.folder.mkdir(parents=True)
    runs = [
        {"name": f"{ID}-{scheme}-s{seed}", "scheme": scheme, "seed": seed}
        for scheme, rates in success.items()
        for seed in range(len(rates))
    ]
    request = asdict(ExperimentRequest(**{**GOOD, "schemes": list(success)}))
    (experiments.folder / f"{ID}.json").write_text(
        json.dumps({"id": ID, "made": 0.0, "request": request, "steps": 2, "runs": runs})
    )
    for run, rate in zip(runs, [rate for rates in success.values() for rate in rates]):
        stored = Run.create(runs_dir / run["name"], {"command": "train", "scheme": run["scheme"]})
        stored.log({"step": 0, "eval/t1/success": 0.9})
        stored.log({"step": 1, "eval/t1/success": rate})
        stored.log({"step": 2, "success/rate": 0.1})
        write_status(stored.path, state="finished", step=2, elapsed=1.0)
    return experiments


@pytest.mark.parametrize("seeds", [3, 5, 6, 12])
def test_a_comparison_is_a_paired_t_interval_over_any_number_of_seeds(tmp_path, seeds):
    rng = np.random.default_rng(seeds)
    uniform, actfocus = rng.uniform(0.3, 0.5, seeds), rng.uniform(0.4, 0.7, seeds)
    experiments = store(tmp_path, {"uniform": uniform.tolist(), "actfocus": actfocus.tolist()})
    (found,) = look(experiments, ID, {}).comparisons
    test = stats.ttest_rel(actfocus, uniform)
    interval = test.confidence_interval(0.95)
    assert (found.scheme, found.baseline, found.seeds) == ("actfocus", "uniform", seeds)
    assert found.mean == pytest.approx((actfocus - uniform).mean())
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    json.loads(look(experiments, ID, {}).model_dump_json(), parse_constant=pytest.fail)


def test_too_few_seeds_give_no_difference():
    finals = {"uniform": {0: 0.5, 1: 0.5, 2: None}, "actfocus": {0: 0.7, 1: 0.6, 2: 0.9, 3: 0.8}}
    (found,) = comparisons(["uniform", "actfocus"], finals)
    assert found["seeds"] == 2 and found["mean"] is found["low"] is found["high"] is None
    assert comparisons(["actfocus", "role_only"], finals) == [] == comparisons(["uniform"], finals)


def test_equal_differences_do_not_give_an_interval_without_width():
    finals = {"uniform": dict.fromkeys(range(3), 0.5), "actfocus": dict.fromkeys(range(3), 0.6)}
    (found,) = comparisons(["uniform", "actfocus"], finals)
    assert found["low"] < 0 < found["mean"] < found["high"]


def test_only_finished_runs_are_compared_and_with_their_last_evaluation(tmp_path):
    experiments = store(tmp_path, {"uniform": [0.5, 0.4, 0.3, 0.2], "actfocus": [0.6, 0.6, 0.6, 0.6]})
    write_status(tmp_path / f"{ID}-actfocus-s3", state="stopped", step=1, elapsed=1.0)
    (found,) = look(experiments, ID, {}).comparisons
    assert found.seeds == 3 and found.mean == pytest.approx(0.2)
    # A run with more rows than one answer holds.
    run = Run.open(tmp_path / f"{ID}-actfocus-s0")
    for step in range(3, 1500):
        run.log({"step": step, "success/rate": 0.5})
    run.log({"step": 1500, "eval/t1/success": 0.9})
    (found,) = look(experiments, ID, {}).comparisons
    assert found.mean == pytest.approx(0.3)


def test_evaluations_have_the_mean_over_prompts(tmp_path):
    store(tmp_path, {"uniform": [0.5]})
    stored = make_run(tmp_path / f"{ID}-uniform-s0" / "evaluation" / "t1", prompts=3, rollouts=2, steps=2)
    found = evaluations(tmp_path / f"{ID}-uniform-s0")
    success = stored.index().groupby(["seed", "step"])["success"].mean().astype(float).unstack()
    np.testing.assert_allclose([values(row) for row in found.success], success)
    np.testing.assert_allclose(values(found.mean), success.mean())
    store(tmp_path / "none", {"uniform": [0.5]})
    assert evaluations(tmp_path / "none" / f"{ID}-uniform-s0") is None


def values(column) -> np.ndarray:
    """The values of a float64 column."""
    return np.frombuffer(base64.b64decode(column.data), "<f8")


@pytest.fixture
def client(tmp_path):
    return TestClient(build([], tmp_path / "runs").app())


def test_the_page_s_requests_are_answered(client, tmp_path):
    store(tmp_path / "runs", {"uniform": [0.5], "actfocus": [0.6]})

    def ask(op, **request):
        answer = client.post(f"{API}/train/{op}", json=request)
        assert answer.status_code == 200, answer.text
        return answer.json()

    name = f"{ID}-uniform-s0"
    (listed,) = ask("list")["experiments"]
    assert (listed["id"], listed["algorithm"], listed["states"]) == (ID, "grpo", ["finished"] * 2)
    first = ask("look", id=ID, cursors={})
    assert first["runs"][0]["name"] == name and set(first["runs"][0]["metrics"]) >= {"step", "eval/t1/success"}
    again = ask("look", id=ID, cursors={run["name"]: run["cursor"] for run in first["runs"]})
    assert [run["metrics"] for run in again["runs"]] == [{}, {}], "only what is new"
    assert ask("details", id=ID, name=name)["command"].startswith("actfocus train ")
    assert ask("evaluation", id=ID, name=name) == {"evaluation": None}
    estimate = ask("estimate", view={"alpha": 0.3}, policy="tiny", **GOOD)
    assert estimate["runs"] == 2 and estimate["seconds"] > 0
    assert "tiny" in [policy["name"] for policy in ask("policies")["policies"]]


FORM = {"view": {}, "policy": "tiny", **GOOD}


@pytest.mark.parametrize(
    ("op", "request_", "says"),
    [
        ("look", {}, "id: Field required"),
        ("look", {"id": "../x"}, "there is no such experiment"),
        ("look", {"id": 7}, "id: Value error, must be printable text"),
        ("look", {"id": ID, "cursors": {"a": -1}}, "cursors.a: Input should be greater than or equal to 0"),
        ("look", {"id": ID, "cursors": {"a": "1"}}, "cursors.a: Input should be a valid integer"),
        ("start", {**FORM, "time": "a year"}, "time: must be one of 30 seconds"),
        ("start", {**FORM, "schemes": []}, "schemes: choose one or more of uniform"),
        ("start", {**FORM, "seeds": True}, "seeds: Input should be a valid integer"),
        ("start", {**FORM, "seeds": 6}, "seeds: must be a whole number from 1 to 5"),
        ("estimate", {**FORM, "policy": "../policy"}, "unknown policy"),
        ("start", {}, "view: Field required"),
        ("details", {"id": "race-x-1", "name": "../../etc/passwd"}, "there is no experiment race-x-1"),
        ("evaluation", {"id": "../x", "name": "x"}, "there is no such experiment"),
        ("prompt", {"id": "race-x-1", "name": "x", "seed": 1.5}, "seed: Input should be a valid integer"),
        ("control", {"id": 7, "what": "go"}, "id: Value error"),
        ("control", {"id": "race-x-1", "what": "rm"}, "what: Input should be 'pause', 'go' or 'stop'"),
    ],
)
def test_a_bad_request_gives_one_clear_line(op, request_, says, client, tmp_path):
    answer = client.post(f"{API}/train/{op}", json=request_)
    assert answer.status_code == 422 and set(answer.json()) == {"error"}
    assert says in answer.json()["error"] and "\n" not in answer.json()["error"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 9000])
def test_text_that_is_no_request_is_refused(text, client, tmp_path):
    answer = client.post(f"{API}/train/look", content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert not (tmp_path / "runs").exists()
