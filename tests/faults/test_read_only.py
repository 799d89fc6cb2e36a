"""Folders that may be read and not written, or not even read: everything is shown, what writes says that it cannot."""

import os
import shutil
from types import SimpleNamespace

import pytest

from actfocus_core.counterfactual import store as whatif
from actfocus_core.errors import ActFocusError
from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_core.train import TrainConfig, request, resume, train
from actfocus_studio.data.batch_cache import BatchCache
from actfocus_studio.data.cache import LruCache
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.data.view import View
from actfocus_studio.jobs.experiments import ExperimentRequest, Experiments
from actfocus_studio.jobs.signals import Signals
from actfocus_studio.pages.trace import api as trace
from tests.core.command import actfocus
from tests.faults.kills import CONFIG

LAKE = assets() / "runs/frozen-lake"
ASKED = ExperimentRequest("FrozenLake, deterministic", "grpo", ["uniform"], 1, "30 seconds")


def test_a_run_on_a_read_only_disk_is_shown_and_what_writes_says_so(disk, tmp_path, monkeypatch):
    shutil.copytree(LAKE, disk.path / "lake")
    train(TrainConfig.of(**CONFIG, steps=1), disk.path / "trained")
    races = Experiments(disk.path)
    monkeypatch.setattr(Experiments, "_work", lambda self: None)
    monkeypatch.setattr("actfocus_studio.jobs.experiments.store.DISK_FREE", 0)
    id = races.start(ASKED)
    disk.read_only()
    listed, run = disk.files(), Run.open(disk.path / "lake")
    studio = SimpleNamespace(catalog=Catalog([], disk.path), batches=BatchCache())
    told = trace.opened(studio, LruCache(), trace.OpenRequest(view=View(run="lake")))
    assert told.trajectory.id in set(run.index()["id"])
    assert actfocus("diagnose", str(run.path)).returncode == 0
    assert actfocus("export", str(run.path), "--format", "jsonl", "--out", str(tmp_path / "x.jsonl")).returncode == 0
    step = run.steps()[0]
    for work in (
        lambda: run.annotate(step, "tiny", run.trajectories(step)),
        lambda: whatif.store(run, whatif.WhatIf("edit", {}, {}, [])),
        lambda: Signals().score(run, "lake", "tiny"),
        lambda: train(TrainConfig.of(**CONFIG, steps=1), disk.path / "new"),
        lambda: resume(disk.path / "trained", steps=2),
        lambda: races.start(ASKED),
        lambda: races.ask(id, "stop"),
        lambda: races.ask(id, "go"),
        lambda: request(disk.path / "trained", "stop"),
    ):
        with pytest.raises(ActFocusError, match="Read-only file system") as error:
            work()
        assert str(error.value).isprintable()
    for command in (
        ["rollout", "--prompts", "1", "--rollouts", "1", "-o", "max_turns=1", "--out", str(disk.path / "r")],
        ["export", str(run.path), "--format", "csv", "--out", str(disk.path / "x.csv")],
        ["import", "auto", str(tmp_path / "x.jsonl"), "--out", str(disk.path / "i")],
        ["score", str(run.path)],
    ):
        result = actfocus(*command)
        assert result.returncode == 2 and "Read-only file system" in result.stderr.rstrip("\n").rsplit("\n", 1)[-1], (
            result
        )
    assert disk.files() == listed and races.look(id, {})["runs"][0]["state"] in ("waiting", "queued")


def test_a_run_that_may_not_be_read_says_so(tmp_path):
    if os.getuid():
        pytest.skip("to become another user takes root")
    shutil.copytree(LAKE, tmp_path / "runs/lake")
    told, tell = os.pipe()
    if not (child := os.fork()):
        # Root may read everything: as nobody.
        os.setuid(65534)
        words = []
        for path in ((tmp_path / "runs"), (tmp_path / "runs/lake")):
            try:
                words.append(str(Run.open(path)))
            except ActFocusError as error:
                words.append(str(error))
            except BaseException as error:
                words.append(f"bug: {error!r}")
        os.write(tell, "\n".join(words).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(tell)
    with os.fdopen(told) as file:
        assert all("cannot be read (Permission denied)" in line for line in file.read().splitlines())
