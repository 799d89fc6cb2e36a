"""Requests of the Tune page: distributions of signals, and the exported setting."""

import numpy as np
import pytest

from actfocus_core.signals import SIGNALS, signal_values
from actfocus_studio.data.batch_cache import BatchCache
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.pages.tune.api import api
from actfocus_studio.pages.tune.distribution import BINS, QUANTILES, distributions
from tests.app.routes import Routes, values
from tests.app.sample import make_run


class Shared:
    """What the page needs of a studio."""

    def __init__(self, runs_dir):
        self.catalog, self.batches = Catalog([], runs_dir), BatchCache()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("tune") / "run", prompts=4, rollouts=4, steps=2)


def ask(run, operation, **view) -> dict:
    return Routes(api(Shared(run.path.parent)), "tune").ask(operation, view={"run": run.name, **view})


def test_a_distribution_is_that_of_the_tokens(run):
    batch = run.trajectories(1)
    kinds = np.concatenate([t.kinds for t in batch])
    for name, found in distributions(batch).items():
        signal = np.concatenate([signal_values(t, name) for t in batch]).astype(np.float64)
        low, high = np.percentile(signal[kinds >= 3], [0.5, 99.5])
        edges = values(found.edges)
        assert (edges[0], edges[-1], len(edges)) == (low, high, BINS + 1)
        for code, kind in ((3, "reasoning"), (4, "action"), (5, "format")):
            own, x = getattr(found.kinds, kind), signal[kinds == code]
            assert (own.n, own.lack) == (len(x), 0)
            assert len(values(own.counts)) == BINS and values(own.counts).sum() == ((x >= low) & (x <= high)).sum()
            assert own.mean == pytest.approx(x.mean()) and own.std == pytest.approx(x.std())
            assert own.quantiles == pytest.approx(np.quantile(x, QUANTILES).tolist())


def test_what_was_not_recorded_or_does_not_vary(run):
    batch = run.trajectories(0)
    for t in batch:
        t.signals["ref_entropy"] = np.full(len(t), np.nan, np.float32)
        t.signals["ref_energy"] = np.where(t.kinds >= 3, -13, np.nan).astype(np.float32)
        t.signals["ref_energy"][np.flatnonzero(t.kinds == 4)[:1]] = np.nan
    found = distributions(batch)
    assert found["entropy"] is None
    lacking = sum((t.kinds == 4).any() for t in batch)
    edges = values(found["energy"].edges)
    assert found["energy"].kinds.action.lack == lacking and edges[0] < -13 < edges[-1]


LAKE = '"run":"frozen-lake"'


@pytest.mark.parametrize(
    "operation, text",
    [
        ("batch", ""),
        ("batch", "[]"),
        ("batch", "{"),
        ("batch", "[" * 9000),
        ("batch", "{}"),
        ("batch", f'{{"view":{{{LAKE}}}}}'),
        ("batch", f'{{"view":{{{LAKE},"step":0}},"more":1}}'),
        ("batch", f'{{"view":{{{LAKE},"step":9,"trajectory":"x"}}}}'),
        ("batch", '{"view":{"run":"../..","step":0}}'),
        ("batch", f'{{"view":{{{LAKE},"step":0,"trajectory":["x"]}}}}'),
        ("export", '{"view":{"run":"<img>"}}'),
    ],
)
def test_a_bad_request_gives_one_clear_line(operation, text, tmp_path):
    Routes(api(Shared(tmp_path)), "tune").expect_refused(operation, text)


def test_a_trajectory_of_another_step_is_refused(run):
    other = run.index().query("step == 1").iloc[0]["id"]
    assert "is not of step 0" in ask(run, "batch", step=0, trajectory=other)["error"]
    assert set(ask(run, "batch", step=1, trajectory=other)["distributions"]) == set(SIGNALS)


def test_what_the_page_asks_to_write_down_is_clamped(run):
    texts = ask(run, "export", alpha="nan", beta=1e9, signal="__import__('os')")["texts"]
    assert "{'alpha': 0.1, 'beta': 2.0, 'signal': 'energy'}" in texts["python"]["text"]
    assert texts["python"]["installed"] and texts["python"]["needs"] == ""
