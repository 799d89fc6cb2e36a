"""A disk that is really full: one line, exit code 2, nothing half written, and what was there stays good."""

import json
from pathlib import Path

import pytest

from actfocus_core.counterfactual import store as whatif
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.formats.native import to_record
from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_core.train import TrainConfig, read_status, train
from actfocus_core.train.checkpoint import checkpoints
from actfocus_studio.jobs.experiments import ExperimentRequest, Experiments
from tests.core.command import actfocus
from tests.faults.kills import CONFIG, rows
from tests.whatifs import BRANCHED

ROOM = (0, 8, 60, 400)
"""kB that are left free: other writes fail."""
LAKE = assets() / "runs/frozen-lake"


def refused(*arguments) -> str:
    """The one line with which the command ends."""
    result = actfocus(*arguments)
    assert result.returncode == 2 and result.stderr.count("actfocus: ") == 1, result
    line = result.stderr.rstrip("\n").rsplit("\n", 1)[-1]
    assert line.startswith("actfocus: ") and "No space left" in line, line
    return line


def comparable(path: Path) -> list[dict]:
    return [
        {k: v for k, v in row.items() if not k.startswith("seconds/") and k != "tokens/per_second"}
        for row in rows(path)
    ]


def test_training_keeps_its_last_checkpoint_and_goes_on_where_there_is_room(disk, tmp_path):
    """Fuller and fuller, then roomier and roomier: it fails in other places, and in the end is as if it had never failed."""
    config = TrainConfig.of(**CONFIG, steps=3)
    train(config, tmp_path / "whole")
    path = disk.path / "run"
    kept = 0

    def watch(phase, done, total):
        if phase == "train" and done == 1:
            disk.fill()

    with pytest.raises(ActFocusError, match="No space left.*from the checkpoint of step 1"):
        train(config, path, watch)
    for room in (0, 40, 300, 2000, 3500):
        disk.fill(room)
        line = refused("train", "--resume", str(path), "--progress", "none")
        steps = checkpoints(path / "checkpoints")
        assert steps and steps[-1] >= kept and f"continues from the checkpoint of step {steps[-1]}" in line
        kept = steps[-1]
        assert {p.name for p in path.rglob(".*")} <= {".lock"}, "no half of anything is left"
        assert [row["step"] for row in rows(path)] == list(range(len(rows(path)))) and read_status(path)["state"] in (
            "killed",
            "failed",
        )
        for step in Run.open(path).steps():
            assert Run.open(path).trajectories(step)
    disk.empty()
    assert actfocus("train", "--resume", str(path), "--progress", "none").returncode == 0
    assert comparable(path) == comparable(tmp_path / "whole")


@pytest.mark.parametrize("room", ROOM)
def test_an_export_is_there_whole_or_not_at_all(disk, room):
    disk.fill(room)
    for format, name in (
        ("parquet", "x.parquet"),
        ("jsonl", "x.jsonl"),
        ("csv", "x.csv"),
        ("html", "x.html"),
        ("advantages", "x.json"),
    ):
        limit = ["--limit", "40"] if format == "html" else []
        refused("export", str(LAKE), "--format", format, "--out", str(disk.path / name), *limit)
        assert disk.files() == set()


@pytest.mark.parametrize("room", ROOM)
def test_an_import_is_there_whole_or_not_at_all(disk, tmp_path, room):
    file = tmp_path / "rollouts.jsonl"
    file.write_text("".join(json.dumps(to_record(t)) + "\n" for t in Run.open(LAKE).trajectories()))
    disk.fill(room)
    refused("import", "auto", str(file), "--out", str(disk.path / "run"))
    assert disk.files() == set()


@pytest.mark.parametrize("room", ROOM[:2])
def test_rollouts_are_there_whole_or_not_at_all(disk, room):
    disk.fill(room)
    refused(
        "rollout",
        "--prompts",
        "1",
        "--rollouts",
        "2",
        "-o",
        "max_turns=2",
        "--out",
        str(disk.path / "run"),
        "--progress",
        "none",
    )
    assert disk.files() == set()


@pytest.mark.parametrize("room", (0, 4, 12))
def test_annotations_and_what_ifs_of_before_stay(disk, rollouts, room):
    run = Run.create(disk.path / "run", {})
    run.add_trajectories(0, rollouts)
    run.annotate(0, "tiny", rollouts)
    before = whatif.WhatIf("branch", {"trajectory": "a", "turn": 0}, BRANCHED, rollouts[:2])
    whatif.store(run, before)
    kept = {name: (disk.path / name).read_bytes() for name in disk.files() if (disk.path / name).is_file()}
    disk.fill(room)
    for work in (
        lambda: run.annotate(0, "tiny", rollouts),
        lambda: run.annotate(0, "other", rollouts),
        lambda: run.add_trajectories(1, rollouts),
        lambda: whatif.store(run, whatif.WhatIf("branch", {"trajectory": "a", "turn": 1}, BRANCHED, rollouts)),
        lambda: whatif.store(
            run, whatif.WhatIf("branch", {"trajectory": "a", "turn": 0}, {**BRANCHED, "policy": "other"}, rollouts)
        ),
    ):
        with pytest.raises(ActFocusError, match="cannot be written .*No space left") as error:
            work()
        assert str(error.value).isprintable()
        assert {name: (disk.path / name).read_bytes() for name in disk.files() if (disk.path / name).is_file()} == kept
    assert run.references(0) == ["tiny"] and whatif.load(run, before.id).result == BRANCHED


def test_the_studio_says_so_and_goes_on(disk, monkeypatch):
    """Both where it sees that little is free, and where the disk fills at that moment."""
    asked = ExperimentRequest("FrozenLake, deterministic", "grpo", ["uniform"], 1, "30 seconds")
    races = Experiments(disk.path)
    disk.fill()
    with pytest.raises(ActFocusError, match="MB are free where the runs are kept"):
        races.start(asked)
    monkeypatch.setattr("actfocus_studio.jobs.experiments.store.DISK_FREE", 0)
    with pytest.raises(ActFocusError, match="cannot be written .No space left"):
        races.start(asked)
    assert races.listing() == [] and not [name for name in disk.files() if name.endswith((".json", ".part"))]
    disk.empty()
    monkeypatch.setattr(Experiments, "_work", lambda self: None)
    assert races.look(races.start(asked), {})["runs"][0]["state"] == "queued"
