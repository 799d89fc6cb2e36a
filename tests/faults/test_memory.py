"""Memory that is spent in a trainer: it says so where it can, the studio does where it cannot, and both live on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actfocus_core.train import read_status
from actfocus_core.train.checkpoint import checkpoints
from actfocus_studio.jobs.experiments import ExperimentRequest, Experiments
from actfocus_studio.jobs.worker import Worker
from tests.app.experiments import GOOD, short  # noqa: F401 - a fixture
from tests.faults.kills import CONFIG
from tests.polling import until

PYTHON = sys.executable
DIE = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
GROUP = Path("/sys/fs/cgroup/memory/actfocus-test")


def test_a_trainer_whose_memory_is_limited_says_so_and_keeps_its_checkpoint(tmp_path):
    """After its first step the process may have no more than it has and 24 MB; the next step asks for more."""
    path = tmp_path / "run"
    code = f"""
import resource
from actfocus_core.train import TrainConfig, train

def watch(phase, done, total):
    if phase == "train" and done == 1:
        pages = int(open("/proc/self/statm").read().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (24 << 20),) * 2)
        kept.extend(bytearray(1 << 20) for _ in range(20))

kept = []
values = {{**{CONFIG!r}, "prompts": 4, "rollouts": 8, "minibatch": 32, "steps": 3, "eval_every": 0}}
train(TrainConfig.of(**values), {str(path)!r}, watch)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert ended.returncode == 1 and "out of memory; reduce micro_tokens below" in ended.stderr, ended.stderr[-2000:]
    assert "from the checkpoint of step 1" in ended.stderr and checkpoints(path / "checkpoints") == [1]
    status = read_status(path)
    assert status["state"] == "failed" and "out of memory" in status["message"]


def test_a_trainer_that_is_killed_before_it_can_say_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(Experiments, "_work", lambda self: None)
    monkeypatch.setattr(Experiments, "_command", lambda self, race, run: [sys.executable, "-S", "-c", DIE])
    races = Experiments(tmp_path)
    id = races.start(ExperimentRequest(**GOOD))
    races._begin_next()
    look = until(lambda: (found := races.look(id, {})["runs"][0])["state"] == "failed" and found)
    assert look["message"].startswith("its process was killed (SIGKILL)") and "ran out of memory" in look["message"]
    assert races.look(id, {})["runs"][1]["state"] == "queued", "the race goes on with its next run"


def test_another_command_of_the_studio_that_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("actfocus_core.processes.sys.executable", tmp_path / "python")
    (tmp_path / "python").write_text(f"#!/bin/sh\nexec {PYTHON} -S -c '{DIE}'\n")
    (tmp_path / "python").chmod(0o755)
    worker = Worker("busy")
    worker.launch(["rollout"], tmp_path / "out")
    status = until(lambda: (found := worker.status()).state != "running" and found)
    assert status.state == "failed" and "SIGKILL" in status.message and "ran out of memory" in status.message


@pytest.mark.slow
def test_the_kernel_ends_a_trainer_and_the_studio_says_so_and_goes_on(tmp_path, short):  # noqa: F811
    """A control group of 300 MB: the first run of the experiment is killed by the kernel, and Resume trains it with more."""
    try:
        GROUP.mkdir()
    except OSError:
        pytest.skip("a limit that the kernel enforces is a memory control group (v1), which only root may make")
    try:
        (GROUP / "memory.limit_in_bytes").write_text(str(300 << 20))
        races = Experiments(tmp_path)
        command = Experiments._command
        shell = f'echo $$ > {GROUP}/cgroup.procs; exec "$@"'
        races._command = lambda race, run: ["sh", "-c", shell, "sh", *command(races, race, run)]
        id = races.start(ExperimentRequest(**{**GOOD, "schemes": ["uniform"]}))
        look = until(lambda: (found := races.look(id, {})["runs"][0])["state"] in ("failed", "killed") and found)
        assert "SIGKILL" in look["message"] and "ran out of memory" in look["message"]
        until(lambda: not races.look(id, {})["going"] or races._thread is None or not races._thread.is_alive())
        del races._command
        again = Experiments(tmp_path)
        again.ask(id, "go")
        until(lambda: again.look(id, {})["runs"][0]["state"] == "finished")
    finally:
        until(lambda: not (GROUP / "cgroup.procs").read_text().strip())
        GROUP.rmdir()
