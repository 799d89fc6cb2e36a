"""A clock that is set back: durations, orders and what is newer do not hang on it."""

import os
import time

import pytest

from actfocus_core.runs import Run
from actfocus_core.train import TrainConfig, read_status, train
from actfocus_core.trajectory import Trajectory
from actfocus_studio.data.cache import stamp
from actfocus_studio.jobs.experiments import ExperimentRequest, Experiments
from tests.faults.kills import CONFIG

HOUR = 3600.0


@pytest.fixture
def backwards(monkeypatch):
    """Every look at the clock tells an hour earlier than the one before; the monotonic clocks are as they are."""
    now = [time.time()]

    def earlier():
        now[0] -= HOUR
        return now[0]

    monkeypatch.setattr(time, "time", earlier)


def test_a_run_takes_as_long_and_ends_as_it_would(tmp_path, backwards):
    began = time.perf_counter()
    run = train(TrainConfig.of(**CONFIG, steps=2, time_budget=600.0), tmp_path / "r")
    took = time.perf_counter() - began
    elapsed = [row["seconds/elapsed"] for row in run.metrics()[0]]
    assert elapsed == sorted(elapsed) and 0 < elapsed[-1] <= took
    assert read_status(run.path)["state"] == "finished" and [row["step"] for row in run.metrics()[0]] == [0, 1, 2]


def test_races_stand_in_the_order_they_were_started_in(tmp_path, backwards, monkeypatch):
    monkeypatch.setattr(Experiments, "_work", lambda self: None)
    races = Experiments(tmp_path)
    ids = [
        races.start(ExperimentRequest("FrozenLake, deterministic", "grpo", ["uniform"], 1, "30 seconds"))
        for _ in range(3)
    ]
    assert [race["id"] for race in races.listing()] == ids[::-1]


def test_what_was_written_again_is_read_again_however_old_it_says_it_is(tmp_path, rollouts):
    run = Run.create(tmp_path / "r", {})
    facts = run.add_trajectories(0, rollouts)
    note = run.annotate(0, "tiny", rollouts)
    for file in (facts, note):
        os.utime(file, ns=(10**18, 10**18))
    assert run.index()["id"].tolist() == [t.id for t in rollouts]
    before, looked = stamp(run, [0]), Run.open(run.path).trajectory(rollouts[0].id)
    assert "ref_energy" in looked.signals
    run.annotate(
        0,
        "tiny",
        [Trajectory(**{**vars(t), "signals": {name: -values for name, values in t.signals.items()}}) for t in rollouts],
    )
    os.utime(note, ns=(10**18, 10**18))
    assert stamp(run, [0]) != before
    # Another run of the same name, of the same second.
    other = [Trajectory(**{**vars(t), "id": t.id[::-1]}) for t in rollouts]
    facts.unlink()
    run.add_trajectories(0, other)
    os.utime(facts, ns=(10**18, 10**18))
    assert run.index()["id"].tolist() == [t.id for t in other] == Run.open(run.path).index()["id"].tolist()
