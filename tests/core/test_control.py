"""Requests to a run: pause, stop, signals, a time budget, and one trainer at a time."""

import os
import signal
import threading
import time

import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.train import read_status, request, resume, train
from actfocus_core.train.checkpoint import checkpoints
from actfocus_core.train.control import requested, training_lock
from tests.core.training_runs import config, results


def test_one_process_at_a_time(grpo):
    with training_lock(grpo.path), pytest.raises(ActFocusError, match="being trained by another process"):
        resume(grpo.path, steps=9)
    assert len(results(grpo.path)) == 5


def test_a_pause_waits_and_goes_on(tmp_path):
    path, seen = tmp_path / "run", []

    def watch(phase, done, total):
        if phase == "train" and done == 1:
            request(path, "pause")
            threading.Thread(target=wake).start()

    def wake():
        while read_status(path).get("state") != "paused":
            time.sleep(0.01)
        seen.append(len(results(path)))
        request(path, "go")

    train(config(steps=2, eval_every=0, mass_every=0), path, watch)
    assert seen == [1] and len(results(path)) == 2 and read_status(path)["state"] == "finished"


def test_sigint_ends_the_run_after_its_step(tmp_path):
    sent = []

    def watch(phase, done, total):
        # Once: the second one would not wait.
        if phase == "rollout" and not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    run = train(config(steps=9, prompts=1, rollouts=2, eval_every=0, mass_every=0), tmp_path / "run", watch)
    assert signal.getsignal(signal.SIGINT) is before
    assert len(results(run.path)) == 1 and read_status(run.path)["state"] == "stopped"
    assert checkpoints(run.path / "checkpoints") == [1]


def test_a_time_budget_ends_a_run_in_time(tmp_path):
    run = train(config(steps=1000, time_budget=4.0, mass_every=0, eval_every=500), tmp_path / "run")
    rows = run.metrics()[0]
    assert 2 <= len(rows) < 100 and "eval/t1/success" in rows[-1] and read_status(run.path)["state"] == "finished"


def test_requests(grpo, tmp_path):
    with pytest.raises(ActFocusError, match="request 'fly'"):
        request(grpo.path, "fly")
    with pytest.raises(ActFocusError, match="not a run folder"):
        request(tmp_path, "stop")
    assert requested(tmp_path) == "go" and read_status(tmp_path) == {}
    for nonsense in ("", "[]", '{"request": "fly"}', '{"request": []}', "\x00"):
        (tmp_path / "control.json").write_text(nonsense)
        assert requested(tmp_path) == "go"
