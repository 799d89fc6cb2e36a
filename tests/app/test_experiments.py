"""Experiments: validation of requests, the queue, the training processes, and recovery after a crash."""

import base64
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.paths import assets
from actfocus_core.policy import load_policy
from actfocus_core.runs import Run
from actfocus_core.signals import score
from actfocus_core.train import preset, read_status
from actfocus_core.trajectory import TokenKind
from actfocus_studio.data import models
from actfocus_studio.jobs.experiments import LANGUAGE_RATES, ExperimentRequest, Experiments
from actfocus_studio.pages.train.api import TrainingForm, wanted
from actfocus_studio.pages.train.prompt import over_time
from tests.app.experiments import GOOD, short  # noqa: F401 - a fixture
from tests.core.command import actfocus
from tests.polling import until


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"environment": "chess"}, "environment"),
        ({"environment": ["x"]}, "environment"),
        ({"algorithm": "dpo"}, "algorithm"),
        ({"schemes": []}, "schemes"),
        ({"schemes": ["uniform", "uniform"]}, "each once"),
        ({"schemes": ["../x"]}, "schemes"),
        ({"schemes": "uniform"}, "schemes"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": 6}, "seeds"),
        ({"seeds": True}, "seeds"),
        ({"seeds": 1.5}, "seeds"),
        ({"time": "a week"}, "time"),
        ({"alpha": 2}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"beta": -1}, "beta"),
        ({"policy": None}, "policy"),
        ({"policy": ["tiny"]}, "policy"),
        ({"signal": "luck"}, "signal"),
    ],
)
def test_a_request_is_checked(change, says):
    with pytest.raises(ActFocusError, match=says):
        ExperimentRequest(**{**GOOD, **change})


def test_ids_from_a_page_never_reach_the_file_system(tmp_path):
    experiments = Experiments(tmp_path)
    for id in ("../../etc/passwd", "", "a" * 200, "x/y", None, 7, "race\n"):
        with pytest.raises(ActFocusError):
            experiments.look(id, {})
        with pytest.raises(ActFocusError):
            experiments.ask(id, "go")


def test_a_broken_file_is_one_line_and_not_in_the_list(tmp_path):
    experiments = Experiments(tmp_path)
    experiments.folder.mkdir()
    (experiments.folder / "race-x-1.json").write_text("{")
    (experiments.folder / "race-x-2.json").write_text(
        json.dumps({"id": "race-x-2", "request": GOOD, "runs": [{"name": "../../x"}]})
    )
    assert experiments.listing() == []
    for id in ("race-x-1", "race-x-2"):
        with pytest.raises(ActFocusError, match="not a valid experiment file"):
            experiments.look(id, {})


def test_a_queue_of_hours_takes_no_more(tmp_path, monkeypatch):
    experiments = Experiments(tmp_path)
    monkeypatch.setattr(Experiments, "_work", lambda self: None)
    long = ExperimentRequest(
        **{**GOOD, "seeds": 5, "time": "5 minutes", "schemes": ["uniform", "actfocus", "role_only", "energy_only"]}
    )
    started = [experiments.start(long), experiments.start(long)]
    with pytest.raises(ActFocusError, match="minutes of training are in the queue"):
        experiments.start(long)
    assert [race["id"] for race in experiments.listing()] == started[::-1]
    experiments.ask(started[0], "stop")
    experiments.start(long)


@pytest.mark.parametrize("policy", ["--help", "../policy", "Qwen/absent", "", "/etc"])
def test_only_a_policy_that_is_installed_is_trained(tmp_path, policy):
    experiments = Experiments(tmp_path / "runs")
    asked = {**GOOD, "policy": policy}
    with pytest.raises(ActFocusError, match="unknown policy"):
        experiments.start(ExperimentRequest(**asked))
    with pytest.raises(ActFocusError, match="unknown policy"):
        wanted(experiments, TrainingForm(view={}, **asked))
    assert not (tmp_path / "runs").exists()


def test_a_language_model_is_trained_quickly_in_another_way(tmp_path):
    """By what it is: small rates and few rollouts for every policy larger than the embedded one."""
    for name, size, config in (
        ("small", 4_000_000, "config.json"),
        ("large", 100_000_000, "config.json"),
        ("adapter", 4_000_000, "adapter_config.json"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / config).write_text("{}")
        with open(tmp_path / name / "model.safetensors", "wb") as stream:
            stream.truncate(size)
    rates = {
        name: preset("quick", model=model)["lr"]
        for name, model in (
            ("tiny", "tiny"),
            ("smollm2", "smollm2-agent"),
            ("hub", "Qwen/Qwen2.5-0.5B-Instruct"),
            *((name, str(tmp_path / name)) for name in ("small", "large", "adapter")),
        )
    }
    assert rates == {"tiny": 3e-4, "small": 3e-4, "smollm2": 1e-5, "hub": 1e-5, "large": 1e-5, "adapter": 1e-5}


def test_an_experiment_with_a_policy_that_was_trained_here(tmp_path, monkeypatch):
    """The command names the policy's folder, the time budget follows the estimate, and the page shows a short name."""
    experiments = Experiments(tmp_path)
    monkeypatch.setattr(Experiments, "_work", lambda self: None)
    folder = tmp_path / "first-one" / "policy"
    shutil.copytree(assets() / "tiny-policy", folder)
    names = {model.name: model.title for model in models.installed(tmp_path)}
    assert list(names)[0] == "tiny" and names[str(folder)] == "first-one: trained here"
    monkeypatch.setattr("actfocus_studio.jobs.experiments.estimate.RATES", {("frozen_lake", "grpo"): (50.0, 10.0)})
    id = experiments.start(ExperimentRequest(**{**GOOD, "policy": str(folder)}))
    look = experiments.look(id, {})
    assert look["policy"] == "first-one" and experiments.listing()[0]["policy"] == "first-one"
    command = shlex.split(experiments.log(id, look["runs"][0]["name"])["command"])
    value = {name: command[command.index(name) + 1] for name in ("--policy", "--preset", "--steps", "--time-budget")}
    assert value == {
        "--policy": str(folder),
        "--preset": "quick",
        "--steps": "4",
        "--time-budget": str(4 * (4 * 50 + 5 * 10)),
    }
    plain = experiments.look(experiments.start(ExperimentRequest(**GOOD)), {})
    assert (
        plain["policy"] == "tiny"
        and "--policy" not in experiments.log(plain["id"], plain["runs"][0]["name"])["command"]
    )


def test_runs_are_trained_one_after_another_and_rows_equal_the_stored_ones(tmp_path, short):  # noqa: F811
    experiments = Experiments(tmp_path)
    id = experiments.start(ExperimentRequest(**GOOD))
    seen, most = {}, 0
    cursors: dict[str, int] = {}

    def finished():
        nonlocal most
        look = experiments.look(id, cursors)
        for run in look["runs"]:
            columns = run["columns"]
            seen.setdefault(run["name"], []).extend(dict(zip(columns, values)) for values in zip(*columns.values()))
            cursors[run["name"]] = run["cursor"]
        busy = [run for run in look["runs"] if run["state"] in ("starting", "running")]
        most = max(most, len(busy))
        return all(run["state"] == "finished" for run in look["runs"])

    until(finished)
    assert most == 1, "one slot"
    for name, rows in seen.items():
        stored, _ = Run.open(tmp_path / name).metrics()
        assert [row["step"] for row in rows] == [row["step"] for row in stored] == [0, 1, 2, 3, 4]
        assert [row["success/rate"] for row in rows[1:]] == [row["success/rate"] for row in stored[1:]]
    # Same prompts and same random numbers under every scheme, so the first rollouts are equal.
    first = [
        Run.open(tmp_path / run["name"]).trajectories(1)[0].token_ids.tolist()
        for run in experiments.look(id, {})["runs"]
    ]
    assert first[0] == first[1]
    assert experiments.listing()[0]["states"] == ["finished", "finished"]
    until(lambda: not experiments.look(id, {})["going"])
    for run in experiments.look(id, {})["runs"]:
        check_a_prompt_over_time(experiments.path(id, run["name"]), run["scheme"])
    check_what_repeats_a_run(experiments, id, experiments.look(id, {})["runs"][1]["name"])


def check_what_repeats_a_run(experiments, id, name):
    """The command and the Python code on the page repeat the run; log and config are those of the run."""
    log = experiments.log(id, name)
    again = experiments.path(id, name).with_name(f"{name}-again")
    stored = Run.open(experiments.path(id, name))
    assert log["config"] == stored.info["config"] and "train: 4 of 4" in log["log"]
    program, *arguments = shlex.split(log["command"])
    assert program == "actfocus"
    for repeat in (lambda: actfocus(*arguments).returncode, lambda: exec(log["python"], {})):
        assert not repeat()
        repeated = Run.open(again)
        assert {**repeated.info["config"], "command": "train"} == stored.info["config"]
        assert [row["success/rate"] for row in repeated.metrics()[0][1:]] == [
            row["success/rate"] for row in stored.metrics()[0][1:]
        ]
        shutil.rmtree(again)


def test_positions_in_the_queue_count_all_earlier_experiments(tmp_path, monkeypatch):
    experiments = Experiments(tmp_path)
    monkeypatch.setattr(Experiments, "_work", lambda self: None)
    first, second = experiments.start(ExperimentRequest(**GOOD)), experiments.start(ExperimentRequest(**GOOD))
    assert [[run["place"] for run in experiments.look(id, {})["runs"]] for id in (first, second)] == [[1, 2], [3, 4]]
    experiments.ask(first, "stop")
    assert [[run["place"] for run in experiments.look(id, {})["runs"]] for id in (first, second)] == [
        [None, None],
        [1, 2],
    ]


def test_a_full_disk_begins_nothing_and_says_why(tmp_path, monkeypatch):
    experiments = Experiments(tmp_path)
    monkeypatch.setattr(Experiments, "_work", lambda self: None)
    id = experiments.start(ExperimentRequest(**GOOD))
    monkeypatch.undo()
    monkeypatch.setattr("actfocus_studio.jobs.experiments.store.DISK_FREE", 1 << 60)
    experiments._loop()
    assert experiments.look(id, {})["going"] is False and experiments.look(id, {})["runs"][0]["state"] == "waiting"
    for attempt in (lambda: experiments.ask(id, "go"), lambda: experiments.start(ExperimentRequest(**GOOD))):
        with pytest.raises(ActFocusError, match="MB are free where the runs are kept"):
            attempt()


def test_the_estimate_counts_steps_and_evaluations_apart(tmp_path):
    experiments = Experiments(tmp_path)
    (step, evaluation), measured = experiments.rates("sudoku", "ppo", "tiny")
    assert not measured and step > 0 and evaluation > 0
    run = Run.create(
        tmp_path / "made", {"command": "train", "env": "frozen_lake", "algorithm": "grpo", "model": "tiny"}
    )
    for k in range(7):
        run.log(
            {"step": k, "seconds/elapsed": 3.0 * (k > 2) + 3.0 + 0.5 * k}
            | ({"seconds/evaluate": 3.0} if k in (0, 3) else {})
        )
    assert experiments.rates("frozen_lake", "grpo", "tiny") == ((pytest.approx(0.5), pytest.approx(3.0)), True)
    # Another policy has its own rates, a language model much slower ones until it was trained here.
    assert experiments.rates("frozen_lake", "grpo", "smollm2") == (LANGUAGE_RATES, False)
    slow = experiments.estimate(ExperimentRequest(**{**GOOD, "policy": "smollm2"}))
    assert slow["steps"] == 4 and slow["seconds"] == 2 * (4 * LANGUAGE_RATES[0] + 5 * LANGUAGE_RATES[1])
    found = experiments.estimate(ExperimentRequest(**{**GOOD, "time": "2 minutes"}))
    assert found["steps"] == int((120 - 7 * 3) / 0.5) and found["measured"] and found["runs"] == 2
    assert found["seconds"] == pytest.approx(2 * (found["steps"] * 0.5 + 7 * 3.0), abs=2 * 3.0), (
        "a last evaluation may be added"
    )


def check_a_prompt_over_time(path, scheme):
    """The weights equal those of the formula, computed from token kinds and a reference pass."""
    evaluation = path / "evaluation" / "t1"
    index = Run.open(evaluation).index()
    found = over_time(Run.open(path), Run.open(evaluation), int(index["seed"].min()))
    assert [step.step for step in found.steps] == [0, 2, 4]
    kinds = np.concatenate([np.frombuffer(base64.b64decode(step.tokens.kind.data), "u1") for step in found.steps])
    weights = np.concatenate([np.frombuffer(base64.b64decode(step.tokens.weight.data), "<f4") for step in found.steps])
    weights = weights.astype(float)
    written, acted = np.isin(kinds, (3, 5)), kinds == TokenKind.ACTION
    if scheme == "uniform":
        assert (weights[written | acted] == 1).all()
        return
    stored = Run.open(evaluation)
    energy = np.concatenate(
        [
            t.signals["ref_energy"][t.kinds == TokenKind.ACTION]
            for t in score([stored.trajectory(step.id) for step in found.steps], load_policy("tiny", "cpu"))
        ]
    ).astype(float)
    z = (energy - energy.mean()) / energy.std()
    np.testing.assert_allclose(weights[acted], 1 + 0.5 / (1 + np.exp(-z)), atol=1e-5)
    np.testing.assert_allclose(weights[written], 0.1, atol=1e-7)
    with pytest.raises(ActFocusError, match="no evaluation of the prompt"):
        over_time(Run.open(path), Run.open(evaluation), 5)


def test_stop_pause_go_and_a_killed_process(tmp_path, short):  # noqa: F811
    experiments = Experiments(tmp_path)
    id = experiments.start(ExperimentRequest(**{**GOOD, "schemes": ["uniform"]}))
    name = experiments.look(id, {})["runs"][0]["name"]
    path = tmp_path / name
    until(lambda: read_status(path).get("step", 0) >= 1)
    experiments.ask(id, "pause")
    until(lambda: read_status(path)["state"] == "paused")
    experiments.ask(id, "go")
    until(lambda: read_status(path)["state"] in ("running", "finished"))
    os.kill(read_status(path)["pid"], signal.SIGKILL)
    experiments.ask(id, "stop")
    look = until(lambda: (found := experiments.look(id, {})["runs"][0])["state"] in ("killed", "finished") and found)
    assert look["state"] == "killed" and "log" in look
    experiments.ask(id, "go")
    until(lambda: read_status(path)["state"] == "finished")
    assert [row["step"] for row in Run.open(path).metrics()[0]] == [0, 1, 2, 3, 4]


def test_a_run_outlives_the_studio_that_began_it_and_a_new_one_finds_it(tmp_path):
    """The studio is killed: training continues, and a new studio shows it and starts no second process."""
    code = (
        f"import time, json\nfrom pathlib import Path\nfrom actfocus_studio.jobs.experiments import *\nimport actfocus_studio.jobs.experiments.request\n"
        f"actfocus_studio.jobs.experiments.request.TIMES = {{'30 seconds': 40}}\n"
        f"experiments = Experiments(Path({str(tmp_path)!r}))\nprint(experiments.start(ExperimentRequest(**{GOOD!r})), flush=True)\ntime.sleep(600)"
    )
    studio = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    id = studio.stdout.readline().strip()
    experiments = Experiments(tmp_path)
    running = until(lambda: [r for r in experiments.look(id, {})["runs"] if r["state"] == "running" and r["step"] >= 1])
    studio.kill()
    studio.wait()
    path = tmp_path / running[0]["name"]
    step = read_status(path)["step"]
    until(lambda: read_status(path)["step"] > step)
    look = experiments.look(id, {})
    assert [run["state"] for run in look["runs"]] == ["running", "waiting"] and not look["going"]
    assert experiments._busy(), "the slot is taken by the run that was left behind"
    experiments.ask(id, "stop")
    until(lambda: read_status(path)["state"] == "stopped")


@pytest.mark.parametrize("command", ["train", "trl", "verl"])
def test_a_run_trained_elsewhere_is_watched_and_stopped_and_not_started(tmp_path, rollouts, command):
    from actfocus_core.plugins.mirror import RunMirror
    from actfocus_core.train.control import requested

    config = {"command": command, "env": "frozen_lake", "algorithm": "grpo", "scheme": "actfocus"}
    params = {"alpha": 0.1, "beta": 0.5, "signal": "energy", "format_weight": None}
    experiments = Experiments(tmp_path)
    with (made := RunMirror(tmp_path / "My_Cluster", config, {"name": "tiny"})).session():
        made.begin(0, 3)
        made.store(1, rollouts, params, "tiny")
        made.log(1, {"loss/policy": 0.5}, seconds=2.0)
        (listed,) = experiments.listing()
        assert (listed["id"], listed["states"]) == ("My_Cluster", ["running"]) and "frozen_lake" in listed["request"][
            "environment"
        ]
        (run,) = experiments.look("My_Cluster", {})["runs"]
        assert (run["state"], run["step"], run["columns"]["loss/policy"]) == ("running", 1, [0.5])
        assert run["columns"]["success/rate"] == [np.mean([t.success for t in rollouts])]
        experiments.ask("My_Cluster", "stop")
        assert requested(tmp_path / "My_Cluster") == "stop" and made.pending_request() == "stop"
    assert (
        read_status(tmp_path / "My_Cluster")["state"]
        == experiments.look("My_Cluster", {})["runs"][0]["state"]
        == "stopped"
    )
    with pytest.raises(ActFocusError, match="where it was started"):
        experiments.ask("My_Cluster", "go")
    assert "My_Cluster" in experiments.log("My_Cluster", "My_Cluster")["command"]
    # A run of rollouts is not an experiment.
    Run.create(tmp_path / "played", {"command": "rollout", "env": "frozen_lake"})
    assert [race["id"] for race in experiments.listing()] == ["My_Cluster"]
    with pytest.raises(ActFocusError):
        experiments.look("../My_Cluster", {})
