"""What a person points the studio at: runs, folders of runs, and rollouts, which are imported once."""

import json
import os
import shutil

import pytest
from typer.testing import CliRunner

from actfocus_core.cli import app as command
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.opening import open_paths
from actfocus_core.runs import Run
from tests.interop.files import FORMATS, records, write


def names(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("name", FORMATS)
def test_rollouts_of_every_trainer_are_recognised_and_imported_once(name, tokenizer, tokenizer_folder, tmp_path):
    path, runs = write(name, tmp_path, records(name, tokenizer)), tmp_path / "runs"
    (run,) = open_paths([path], runs, tokenizer=tokenizer_folder)
    assert (
        run.path.parent == runs and run.info["config"]["format"] == name.removesuffix("-v0") and len(run.index()) == 4
    )
    before = (run.path / "run.json").stat().st_mtime_ns
    for again in ({"tokenizer": tokenizer_folder}, {}, {"tokenizer": tokenizer_folder, "spans": "think_answer"}):
        (same,) = open_paths([path], runs, **again)
        assert same.path == run.path.resolve() and (run.path / "run.json").stat().st_mtime_ns == before
    assert names(runs) == [run.name]


def test_what_was_written_since_or_is_read_otherwise_is_another_run(tokenizer, tokenizer_folder, tmp_path):
    folder, runs = tmp_path / "rollouts", tmp_path / "runs"
    folder.mkdir()
    write("verl", folder, records("verl", tokenizer))
    open_paths([folder], runs, tokenizer=tokenizer_folder)
    open_paths([folder], runs, tokenizer=tokenizer_folder, spans="tool_call")
    assert names(runs) == ["rollouts-1", "rollouts-2"]
    # The trainer goes on: one more step.
    shutil.copy(folder / "7.jsonl", folder / "8.jsonl")
    (third,) = open_paths([folder], runs, tokenizer=tokenizer_folder)
    assert third.name == "rollouts-3" and len(third.index()) == 8
    # Rewritten within the same size: the time tells.
    os.utime(folder / "8.jsonl", ns=(1, 1))
    assert open_paths([folder], runs, tokenizer=tokenizer_folder)[0].name == "rollouts-4"


def test_settings_beside_the_rollouts_are_not_read(tokenizer, tokenizer_folder, tmp_path):
    folder = tmp_path / "out"
    (folder / "checkpoint-2").mkdir(parents=True)
    (folder / ".cache").mkdir()
    (folder / "checkpoint-2" / "trainer_state.json").write_text(json.dumps({"step": 2, "log": [1]}, indent=2))
    (folder / "a.json").write_text("")
    (folder / ".cache" / "x.jsonl").write_text("not JSON")
    (folder / "completions").mkdir()
    write("trl", folder / "completions", records("trl", tokenizer))
    (run,) = open_paths([folder], tmp_path / "runs", tokenizer=tokenizer_folder)
    assert run.info["config"]["format"] == "trl" and run.name == "out-1"


def test_runs_and_folders_of_runs_are_opened_where_they_are(run, tmp_path):
    folder = tmp_path / "several"
    for name in ("b", "a", ".hidden"):
        shutil.copytree(run.path, folder / name)
    opened = open_paths([run.path, folder], tmp_path / "runs")
    assert [r.path for r in opened] == [run.path.resolve(), (folder / "a").resolve(), (folder / "b").resolve()]
    assert not (tmp_path / "runs").exists()


def test_progress_counts_the_bytes_of_each_import(tokenizer, tokenizer_folder, tmp_path):
    seen = []
    path = write("chat", tmp_path, records("chat", tokenizer) * 40)

    def show(name):
        return lambda done, total: seen.append((name, done, total))

    open_paths([path], tmp_path / "runs", tokenizer=tokenizer_folder, on_progress=show)
    assert seen[-1] == ("chat.jsonl", path.stat().st_size, path.stat().st_size) and len(seen) > 10


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["7.jsonl", "--tokenizer", "tiny", "--spans", "x"], "unknown span rule"),
        (["batch.pkl"], "a pickle, which is never loaded"),
        (["empty"], "contains no file of rollouts"),
        (["nowhere"], "no such run, file or folder of rollouts"),
        (["bad.jsonl", "--tokenizer", "tiny"], "bad.jsonl, line 1: not JSON"),
    ],
)
def test_what_cannot_be_opened_is_one_line_and_nothing_is_written(arguments, says, tokenizer, tmp_path, monkeypatch):
    write("verl", tmp_path, records("verl", tokenizer))
    (tmp_path / "batch.pkl").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.jsonl").write_text('{"messages": [], "reward"\n{"mess')
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command, ["app", *arguments, "--runs-dir", "runs", "--no-browser"])
    assert (
        isinstance(result.exception, ActFocusError)
        and says in str(result.exception)
        and "\n" not in str(result.exception)
    )
    assert names(tmp_path / "runs") == []


def test_the_command_opens_the_studio_on_the_import(tokenizer, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("actfocus_studio.main.launch", lambda runs, **how: opened.append((runs, how)))
    path = write("trl", tmp_path, records("trl", tokenizer))
    arguments = ["app", str(path), "--tokenizer", "tiny", "--runs-dir", str(tmp_path / "runs"), "--no-browser"]
    first = CliRunner().invoke(command, [*arguments, "--json"])
    assert first.exit_code == 0, first.output
    ((runs, how),) = opened
    assert json.loads(first.stdout)["runs"] == [str(runs[0])] and how["tokenizers"] == ["tiny"]
    assert Run.open(runs[0]).info["config"]["approximate"] and runs[0].parent == tmp_path / "runs"
    second = CliRunner().invoke(command, arguments)
    assert f"{runs[0]}: 4 rollouts of {path} (trl, approximate" in second.stdout.replace("\n", "")
    assert names(tmp_path / "runs") == [runs[0].name]


def test_the_studio_takes_a_rule_of_environment_text_and_may_be_strict(tokenizer, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("actfocus_studio.main.launch", lambda runs, **how: opened.append(runs[0].name))
    path = write("chat", tmp_path, records("chat", tokenizer))
    path.write_text(path.read_text() + '{"messages": "x"}\n')
    arguments = ["app", str(path), "--tokenizer", "tiny", "--runs-dir", str(tmp_path / "runs"), "--no-browser"]
    assert CliRunner().invoke(command, arguments).exit_code == 0
    assert CliRunner().invoke(command, [*arguments, "--environment-spans", "none"]).exit_code == 0
    assert CliRunner().invoke(command, [*arguments, "--environment-spans", "none"]).exit_code == 0
    assert opened == ["chat-1", "chat-2", "chat-2"]
    assert Run.open(tmp_path / "runs" / "chat-2").info["config"]["environment_spans"] == "none"
    strict = CliRunner().invoke(command, [*arguments, "--strict"])
    assert "'messages' is" in str(strict.exception) and names(tmp_path / "runs") == ["chat-1", "chat-2"]
