"""A studio in a process of its own, in a stranger's folder: what its child processes import, and what ends with it."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from actfocus_core import processes
from actfocus_core.runs import Run
from actfocus_core.train import read_status
from actfocus_studio.jobs.experiments import ExperimentRequest, Experiments
from tests.app.experiments import GOOD
from tests.core.test_processes import ended, stranger  # noqa: F401 - a fixture
from tests.polling import until
from tests.processes import command_line


@pytest.fixture
def studio(tmp_path, stranger):  # noqa: F811
    """Started as a person does, in a folder whose modules must not be imported; its address, process and folder of runs."""
    runs = tmp_path / "runs"
    runs.mkdir()
    command = Path(sys.executable).with_name("actfocus")
    process = processes.start(
        [str(command), "app", "--no-browser", "--port", "0", "--runs-dir", str(runs)], stdout=subprocess.PIPE, text=True
    )
    address = process.stdout.readline().split()[2]
    yield address, process, runs
    processes.end(process, 0)


def post(url: str, body: dict) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def ask(address: str, operation: str, **request) -> dict:
    """The answer of a route of the pages."""
    return post(f"{address}studio/api/{operation}", request)


def busy(address: str, process: subprocess.Popen, runs: Path) -> dict[str, psutil.Process]:
    """The studio's child processes by what they do: it trains, rolls out, and has a process for what-ifs."""
    form = {"view": {}, "policy": "tiny", **GOOD, "schemes": ["uniform"], "time": "5 minutes"}
    training = runs / f"{ask(address, 'train/start', **form)['id']}-uniform-s0"
    post(f"{address}gradio_api/run/begin", {"data": ["Sudoku", 64, 16, 0, 1.0, "tiny", 0]})
    opened = ask(address, "trace/open", view={})
    ask(address, "whatif/facts", view={"run": opened["run"]["name"], "trajectory": opened["place"]["id"]})
    until(lambda: read_status(training).get("state") == "running" and read_status(training).get("step", 0) >= 1)
    found = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        words = command_line(child)
        found |= {name: child for name in ("train", "rollout", "actfocus_studio.jobs.whatif.worker") if name in words}
    assert set(found) == {"train", "rollout", "actfocus_studio.jobs.whatif.worker"}
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_studio_that_is_told_to_end_ends_what_it_began(studio, stranger, number):  # noqa: F811
    """As at a Ctrl-C, rollouts and what-ifs go at once and leave nothing; a training run stops after its step, and can be resumed."""
    address, process, runs = studio
    children = busy(address, process, runs)
    assert not stranger.exists(), f"{stranger.read_text().split()} of the working folder was imported"
    process.send_signal(number)
    assert process.wait(30) == 0
    for name in ("rollout", "actfocus_studio.jobs.whatif.worker"):
        assert ended(children[name].pid, 5), name
    assert ended(children["train"].pid, 120)
    (training,) = (path.parent for path in runs.glob("*/status.json"))
    assert read_status(training)["state"] == "stopped" and Run.open(training).steps()
    assert [path.name for path in runs.iterdir()] in ([".races", training.name], [training.name, ".races"])
    assert not stranger.exists()


def test_a_child_that_ends_without_a_word_is_reported_and_not_started_again(tmp_path, monkeypatch):
    """As one does that imports another program in place of ours: it ends with 0, and has no run."""
    started = []
    monkeypatch.setattr(
        Experiments, "_command", lambda self, race, run: started.append(run["name"]) or [sys.executable, "-c", ""]
    )
    races = Experiments(tmp_path)
    id = races.start(ExperimentRequest(**GOOD))
    until(lambda: [run["state"] for run in races.look(id, {})["runs"]] == ["failed", "failed"])
    until(lambda: not races.look(id, {})["going"])
    message = races.look(id, {})["runs"][0]["message"]
    assert "ended with exit code 0" in message and "log" in message and len(started) == 2
    # It is tried again only when a person asks for it.
    races.ask(id, "go")
    until(lambda: len(started) == 4)
    until(lambda: not races.look(id, {})["going"])
    assert [run["state"] for run in races.look(id, {})["runs"]] == ["failed", "failed"]


@pytest.mark.parametrize("before", ["stopped", "killed"])
def test_neither_is_one_that_should_have_gone_on_with_a_run(tmp_path, monkeypatch, before):
    """Its folder says how an earlier process ended."""
    from actfocus_core.train.control import write_status

    started = []
    races = Experiments(tmp_path)
    with monkeypatch.context() as waiting:
        waiting.setattr(Experiments, "_work", lambda self: None)
        id = races.start(ExperimentRequest(**{**GOOD, "schemes": ["uniform"]}))
    monkeypatch.setattr(
        "actfocus_studio.jobs.experiments.queue.processes.python",
        lambda *words: started.append(words) or [sys.executable, "-c", ""],
    )
    run = Run.create(tmp_path / f"{id}-uniform-s0", {"command": "train"})
    write_status(run.path, state="running" if before == "killed" else before, step=3)
    assert races.look(id, {})["runs"][0]["state"] == before
    races.ask(id, "go")
    until(lambda: not races._thread.is_alive())
    assert len(started) == 1 and "--resume" in started[0]
    assert (
        races.look(id, {})["runs"][0]["state"] == "failed"
        and "ended with exit code 0" in races.look(id, {})["runs"][0]["message"]
    )
