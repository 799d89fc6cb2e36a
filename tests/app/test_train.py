"""Requests of the Train page: comparisons of schemes with intervals, evaluations, and one line for a bad request."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from actfocus_core.runs import Run
from actfocus_core.train.control import write_status
from actfocus_studio.jobs.experiments import ExperimentRequest, Experiments
from actfocus_studio.jobs.experiments.evaluations import comparisons
from actfocus_studio.pages.train.page import evaluation, handle, look
from actfocus_studio.shell.requests import answer
from tests.app.experiments import GOOD
from tests.app.sample import make_run

ID = "race-frozen-lake-1"


def store(runs_dir, success: dict[str, list[float]]) -> Experiments:
    """An experiment whose runs have these success rates in their last evaluation, a seed each; all have finished."""
    experiments = Experiments(runs_dir)
    experiments.folder.mkdir()
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
    (found,) = look(experiments, ID, {})["comparisons"]
    test = stats.ttest_rel(actfocus, uniform)
    interval = test.confidence_interval(0.95)
    assert (found["scheme"], found["baseline"], found["seeds"]) == ("actfocus", "uniform", seeds)
    assert found["mean"] == pytest.approx((actfocus - uniform).mean())
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))
    json.dumps(look(experiments, ID, {}), allow_nan=False)


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
    (found,) = look(experiments, ID, {})["comparisons"]
    assert found["seeds"] == 3 and found["mean"] == pytest.approx(0.2)
    # A run with more rows than one answer holds.
    run = Run.open(tmp_path / f"{ID}-actfocus-s0")
    for step in range(3, 1500):
        run.log({"step": step, "success/rate": 0.5})
    run.log({"step": 1500, "eval/t1/success": 0.9})
    (found,) = look(experiments, ID, {})["comparisons"]
    assert found["mean"] == pytest.approx(0.3)


def test_evaluations_have_the_mean_over_prompts(tmp_path):
    experiments = store(tmp_path, {"uniform": [0.5]})
    stored = make_run(tmp_path / f"{ID}-uniform-s0" / "evaluation" / "t1", prompts=3, rollouts=2, steps=2)
    found = evaluation(experiments, ID, f"{ID}-uniform-s0")
    success = stored.index().groupby(["seed", "step"])["success"].mean().astype(float).unstack()
    np.testing.assert_allclose(found["success"], success)
    np.testing.assert_allclose(found["mean"], success.mean())
    assert evaluation(store_empty(tmp_path / "none"), ID, f"{ID}-uniform-s0") is None


def store_empty(runs_dir) -> Experiments:
    runs_dir.mkdir()
    return store(runs_dir, {"uniform": [0.5]})


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
    experiments = Experiments(tmp_path)
    got = json.loads(answer(text, lambda request: handle(experiments, request)))
    assert set(got) == {"error", "number"} and got["error"] and "\n" not in got["error"]
    assert list(tmp_path.iterdir()) == []
