"""Two studios on one folder of runs: one slot, no request lost, and what both keep is kept."""

import sys
import threading
import time

import pytest

from actfocus_core.counterfactual import store as whatif
from actfocus_core.runs import Run
from actfocus_core.train import read_status
from actfocus_studio.jobs.experiments import ExperimentRequest, Experiments
from tests.app.experiments import GOOD, short  # noqa: F401 - a fixture
from tests.polling import until
from tests.whatifs import BRANCHED

ASKED = ExperimentRequest(**{**GOOD, "schemes": ["uniform"]})


@pytest.fixture
def idle(monkeypatch):
    """Experiments that are queued and never begun by themselves."""
    monkeypatch.setattr(Experiments, "_work", lambda self: None)


def at_once(*works) -> None:
    """Each in a thread of its own, all from the same moment."""
    barrier, failed = threading.Barrier(len(works)), []

    def run(work):
        barrier.wait()
        try:
            work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def test_races_started_at_the_same_moment_are_all_kept(tmp_path, idle):
    studios, ids = [Experiments(tmp_path), Experiments(tmp_path)], []
    for _ in range(8):
        at_once(*(lambda studio=studio: ids.append(studio.start(ASKED)) for studio in studios))
    assert len(set(ids)) == 16 and [{race["id"] for race in studio.listing()} for studio in studios] == [set(ids)] * 2


def test_the_slot_is_taken_once_and_freed_by_the_end_of_the_process(tmp_path, idle, monkeypatch):
    """Whoever begins, and even where the studio that began it is gone."""
    monkeypatch.setattr(
        Experiments, "_command", lambda self, race, run: [sys.executable, "-S", "-c", "import time; time.sleep(1000)"]
    )
    studios = [Experiments(tmp_path), Experiments(tmp_path)]
    for studio in studios:
        studio.start(ASKED)

    def alive():
        return [process for studio in studios for process in studio._processes.values() if process.poll() is None]

    for _ in range(10):
        at_once(*(studio._begin_next for studio in studios for _ in range(3)))
        (process,) = alive()
        process.kill()
        process.wait()
        for studio in studios:
            # Forgotten, or the run would count as failed.
            studio._processes.clear()
    at_once(*(studio._begin_next for studio in studios))
    (process,) = alive()
    for studio in studios:
        studio._processes.clear()
        assert not studio._busy(), "nothing but the slot tells it"
        studio._begin_next()
        assert not studio._processes
    process.kill()
    process.wait()


def test_go_in_both_trains_once_and_stop_in_the_other_one_stops(tmp_path, short):  # noqa: F811
    first, second = Experiments(tmp_path), Experiments(tmp_path)
    id = first.start(ExperimentRequest(**GOOD))
    second.ask(id, "go")
    begun = until(
        lambda: [run for run in second.look(id, {})["runs"] if run["state"] == "running" and run["step"] >= 1]
    )
    second.ask(id, "stop")
    until(lambda: not any(thread is not None and thread.is_alive() for thread in (first._thread, second._thread)))
    states = [run["state"] for run in second.look(id, {})["runs"]]
    assert states in (["stopped", "waiting"], ["finished", "waiting"]) and not first._going, (
        "the first studio begins nothing more"
    )
    assert len(first._processes) + len(second._processes) == 1
    rows = [row["step"] for row in Run.open(tmp_path / begun[0]["name"]).metrics()[0]]
    assert rows == list(range(len(rows))), "no step was taken twice"
    assert read_status(tmp_path / begun[0]["name"])["state"] in ("stopped", "finished")


def test_a_stop_that_comes_before_the_run_listens_is_kept(tmp_path, idle, monkeypatch):
    """The run's process takes away what was asked of earlier ones when it begins; then it is asked again."""
    from actfocus_core.train.control import requested, training_lock, write_status

    monkeypatch.setattr(
        Experiments, "_command", lambda self, race, run: [sys.executable, "-S", "-c", "import time; time.sleep(1000)"]
    )
    races = Experiments(tmp_path)
    id = races.start(ASKED)
    races._begin_next()
    races.ask(id, "stop")
    run = Run.create(tmp_path / races.look(id, {})["runs"][0]["name"], {"command": "train"})
    with training_lock(run.path):
        write_status(run.path, state="running", step=0)
        assert requested(run.path) == "go"
        assert races._obey_stops() and requested(run.path) == "stop"
    for process in races._processes.values():
        process.kill()
        process.wait()


def test_annotations_and_what_ifs_of_both_are_kept(tmp_path, rollouts):
    made = Run.create(tmp_path / "r", {})
    made.add_trajectories(0, rollouts)
    runs = [Run.open(made.path), Run.open(made.path)]
    ended = time.monotonic() + 1.5
    kept = []

    def work(run, name):
        count = 0
        while time.monotonic() < ended:
            run.annotate(0, name, rollouts)
            run.annotate(0, "shared", rollouts, {"by": name})
            what = whatif.WhatIf("branch", {"trajectory": name, "turn": count % 5}, BRANCHED, rollouts[:2])
            whatif.store(run, what)
            kept.append(what.id)
            count += 1

    def read():
        while time.monotonic() < ended:
            for t in Run.open(made.path).trajectories(0):
                assert len(t) == len(t.texts)
            for row in whatif.listing(made):
                assert whatif.load(made, row["id"]).result == BRANCHED

    at_once(lambda: work(runs[0], "one"), lambda: work(runs[1], "two"), read)
    assert made.references(0) == ["one", "shared", "two"] and made.annotation_metadata(0, "shared")["by"] in (
        "one",
        "two",
    )
    assert {row["id"] for row in whatif.listing(made)} == set(kept) and len(set(kept)) >= 2
