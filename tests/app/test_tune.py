"""Requests of the Tune page: distributions of signals, and the exported setting."""

import json

import numpy as np
import pytest

from actfocus_core.signals import SIGNALS, signal_values
from actfocus_studio.data.batch_cache import BatchCache
from actfocus_studio.data.cache import LruCache
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.pages.tune import page as tune
from actfocus_studio.pages.tune.distribution import BINS, QUANTILES, distributions
from actfocus_studio.shell.requests import answer
from tests.app.sample import make_run


class Shared:
    """What the page needs of a studio."""

    def __init__(self, runs_dir):
        self.catalog, self.batches = Catalog([], runs_dir), BatchCache()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("tune") / "run", prompts=4, rollouts=4, steps=2)


def ask(run, **request) -> dict:
    studio = Shared(run.path.parent)
    return json.loads(
        answer(
            json.dumps({"number": 1, "run": run.name, **request}),
            lambda request: tune.handle(studio, LruCache(), request),
        )
    )


def test_a_distribution_is_that_of_the_tokens(run):
    batch = run.trajectories(1)
    kinds = np.concatenate([t.kinds for t in batch])
    for name, found in distributions(batch).items():
        values = np.concatenate([signal_values(t, name) for t in batch]).astype(np.float64)
        low, high = np.percentile(values[kinds >= 3], [0.5, 99.5])
        assert (found["edges"][0], found["edges"][-1], len(found["edges"])) == (low, high, BINS + 1)
        for code, kind in ((3, "reasoning"), (4, "action"), (5, "format")):
            own, x = found["kinds"][kind], values[kinds == code]
            assert (own["n"], own["lack"]) == (len(x), 0)
            assert sum(own["counts"]) == ((x >= low) & (x <= high)).sum()
            assert own["mean"] == pytest.approx(x.mean()) and own["std"] == pytest.approx(x.std())
            assert own["quantiles"] == pytest.approx(np.quantile(x, QUANTILES).tolist())


def test_what_was_not_recorded_or_does_not_vary(run):
    batch = run.trajectories(0)
    for t in batch:
        t.signals["ref_entropy"] = np.full(len(t), np.nan, np.float32)
        t.signals["ref_energy"] = np.where(t.kinds >= 3, -13, np.nan).astype(np.float32)
        t.signals["ref_energy"][np.flatnonzero(t.kinds == 4)[:1]] = np.nan
    found = distributions(batch)
    assert found["entropy"] is None
    lacking = sum((t.kinds == 4).any() for t in batch)
    assert (
        found["energy"]["kinds"]["action"]["lack"] == lacking
        and found["energy"]["edges"][0] < -13 < found["energy"]["edges"][-1]
    )
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 9000,
        '{"number":1}',
        '{"number":1,"op":"batch","run":"frozen-lake"}',
        '{"number":1,"op":"rm","run":"frozen-lake"}',
        '{"number":1,"op":"batch","run":"frozen-lake","step":9,"trajectory":"x"}',
        '{"number":1,"op":"batch","run":"../..","step":0}',
        '{"number":1,"op":"batch","run":"frozen-lake","step":0,"trajectory":["x"]}',
        '{"number":1,"op":"export","run":"<img>"}',
    ],
)
def test_a_bad_request_gives_one_clear_line(text, tmp_path):
    got = json.loads(answer(text, lambda request: tune.handle(Shared(tmp_path), LruCache(), request)))
    assert set(got) == {"error", "number"} and got["error"] and "\n" not in got["error"]


def test_a_trajectory_of_another_step_is_refused(run):
    other = run.index().query("step == 1").iloc[0]["id"]
    assert "is not of step 0" in ask(run, op="batch", step=0, trajectory=other)["error"]
    assert set(ask(run, op="batch", step=1, trajectory=other)["batch"]["distributions"]) == set(SIGNALS)


def test_what_the_page_asks_to_write_down_is_clamped(run):
    texts = ask(run, op="export", alpha="nan", beta=1e9, signal="__import__('os')")["texts"]
    assert "{'alpha': 0.1, 'beta': 2.0, 'signal': 'energy'}" in texts["python"]["text"]
    assert texts["python"]["installed"] and texts["python"]["needs"] == ""
