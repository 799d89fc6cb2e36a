"""Checkpoints: the order in which they reach the disk, and which one a run is resumed from."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from actfocus_core.errors import ActFocusError
from actfocus_core.policy import load_policy
from actfocus_core.runs import Run
from actfocus_core.train import TrainConfig, read_status, resume, train
from actfocus_core.train.checkpoint import (
    SECONDS,
    atomic_folder,
    checkpoints,
    load_checkpoint,
    save_checkpoint,
    start_from,
    whole_checkpoints,
)
from actfocus_core.train.control import clear
from actfocus_core.train.session import Session
from tests.core.command import actfocus
from tests.core.training_runs import results
from tests.faults.kills import CONFIG

NAMES = ["policy", "policy-adam"]
STATE = dict.fromkeys(SECONDS, 1.0)
CHANGES = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree")


def tensors(value: float) -> dict:
    return {name: {"w": torch.full((3,), value)} for name in NAMES}


def save(folder: Path, *steps: int, keep: int = 9) -> None:
    for step in steps:
        save_checkpoint(folder, step, tensors(float(step)), STATE, keep)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """A run of four steps that keeps its last two checkpoints."""
    return train(TrainConfig.of(**CONFIG, steps=4), tmp_path_factory.mktemp("four") / "run").path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same run of five steps, never interrupted."""
    return train(TrainConfig.of(**CONFIG, steps=5), tmp_path_factory.mktemp("five") / "run").path


@pytest.fixture
def cut(four, tmp_path):
    return shutil.copytree(four, tmp_path / "run")


def resumed(path: Path, whole: Path) -> list[str]:
    """Resume a run to its fifth step; it must end as the whole one, and say in its status what it warns of."""
    told = []
    resume(path, steps=5, on_warning=told.append)
    # The four steps ended with an evaluation of their own.
    rows = [
        [{k: v for k, v in row.items() if row["step"] != 4 or not k.startswith("eval/")} for row in results(p)]
        for p in (path, whole)
    ]
    assert rows[0] == rows[1]
    assert len({load_policy(str(p / "policy"), "cpu").fingerprint for p in (path, whole)}) == 1
    assert all(line in read_status(path)["message"] for line in told)
    return told


# --- on the disk -----------------------------------------------------------------------------


def test_a_checkpoint_is_on_the_disk_before_an_older_one_goes(tmp_path, monkeypatch):
    """All that is written, then the folder, then its new name; the older checkpoint is there until then."""
    folder, synced, sync = tmp_path / "run/checkpoints", [], os.fsync
    folder.parent.mkdir()

    def watch(descriptor):
        sync(descriptor)
        synced.append((os.fstat(descriptor).st_ino, checkpoints(folder)))

    monkeypatch.setattr(os, "fsync", watch)
    save(folder, 1, keep=1)
    assert (folder.parent.stat().st_ino, []) in synced, "the name of the folder of checkpoints too"
    synced.clear()
    save(folder, 2, keep=1)
    path = folder / "step-00002"
    inodes = [inode for inode, _ in synced]
    assert inodes[-2:] == [path.stat().st_ino, folder.stat().st_ino] and set(inodes[:-2]) == {
        file.stat().st_ino for file in path.iterdir()
    }
    assert all(there == [1] for _, there in synced[:-1]) and synced[-1][1] == [1, 2] and checkpoints(folder) == [2]


def test_at_every_moment_a_kill_leaves_a_whole_checkpoint(tmp_path):
    """Also where the same step is written again, and no other is kept; the moments are those before each change."""
    folder, seen, on = tmp_path / "run/checkpoints", [], [False]

    def watch(event, arguments):
        if on[0] and event in CHANGES and str(folder) in str(arguments[0]):
            on[0] = False
            left = shutil.copytree(folder.parent, tmp_path / f"left-{len(seen)}")
            clear(left)
            seen.append(whole_checkpoints(left / "checkpoints", NAMES)[0])
            assert not list(left.rglob(".*"))
            on[0] = True

    sys.addaudithook(watch)
    folder.parent.mkdir()
    save(folder, 1, keep=1)
    on[0] = True
    save(folder, 1, keep=1)
    again = len(seen)
    save(folder, 2, keep=1)
    on[0] = False
    assert again > 10 and set(map(tuple, seen[:again])) == {(1,)}
    assert set(map(tuple, seen[again:])) == {(1,), (1, 2), (2,)} and seen[-1] == [2]


def test_what_cannot_take_its_place_leaves_what_was_there(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(OSError):
        save_checkpoint(tmp_path, 1, {"no/such/folder": {}}, STATE, 9)
    assert whole_checkpoints(tmp_path, NAMES) == ([1], {}) and [p.name for p in tmp_path.iterdir()] == ["step-00001"]


def test_only_folders_of_their_names_are_checkpoints(tmp_path):
    folder = tmp_path / "checkpoints"
    save(folder, 1, 2)
    (folder / "step-00003").symlink_to("step-00002")
    (folder / "step-00004").write_text("")
    (folder / "step-000005").mkdir()
    (folder / "step-00006.part").mkdir()
    assert checkpoints(folder) == [1, 2]
    with pytest.raises(ActFocusError, match="step-00003: not a whole checkpoint .it is a link"):
        load_checkpoint(folder, 3, NAMES)


DAMAGES = {
    "policy.safetensors: No such file": lambda path: (path / "policy.safetensors").unlink(),
    "policy-adam.safetensors: it has 72 bytes, its header announces 76": lambda path: os.truncate(
        path / "policy-adam.safetensors", 72
    ),
    "policy-adam.safetensors: it has no safetensors header": lambda path: os.truncate(
        path / "policy-adam.safetensors", 40
    ),
    "policy.safetensors: it has no safetensors header": lambda path: (path / "policy.safetensors").write_bytes(
        bytes((path / "policy.safetensors").stat().st_size)
    ),
    "state.json: Expecting value": lambda path: (path / "state.json").write_text(""),
    "state.json: it is not that of step 2": lambda path: (path / "state.json").write_text(
        json.dumps({**STATE, "step": 1})
    ),
    "state.json: 'elapsed' is not a number": lambda path: (path / "state.json").write_text('{"step": 2}'),
    "state.json: 'slowest' is not a number": lambda path: (path / "state.json").write_text(
        json.dumps({**STATE, "slowest": float("nan"), "step": 2})
    ),
    "state.json: it is not a regular file": lambda path: (
        (path / "state.json").unlink(),
        os.mkfifo(path / "state.json"),
    ),
    "policy.safetensors: it is a link": lambda path: (
        (path / "policy.safetensors").rename(path / "x"),
        (path / "policy.safetensors").symlink_to("x"),
    ),
}


@pytest.mark.parametrize("says", DAMAGES)
def test_a_checkpoint_that_is_not_whole_is_known_by_its_files_and_counts_for_none(says, tmp_path):
    save(tmp_path, 1, 2)
    DAMAGES[says](tmp_path / "step-00002")
    steps, defects = whole_checkpoints(tmp_path, NAMES)
    assert steps == [1] and list(defects) == [2] and says in defects[2] and "\n" not in defects[2]
    with pytest.raises(ActFocusError, match="step-00002: not a whole checkpoint"):
        load_checkpoint(tmp_path, 2, NAMES)
    # It stays until a newer one is whole, and pushes none out.
    save(tmp_path, 1, keep=1)
    assert checkpoints(tmp_path) == [1, 2]
    save(tmp_path, 3, keep=2)
    assert checkpoints(tmp_path) == [1, 3]


def test_what_was_being_replaced_gets_its_name_back_and_links_are_not_followed(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    (other / ".kept.part").mkdir(parents=True)
    for name in (
        "policy/.x",
        ".policy.part/x",
        ".gone.old/x",
        "checkpoints/.step-00001.before/x",
        "evaluation/t1/signals/.a.b.part/x",
    ):
        (run / name).mkdir(parents=True)
    (run / "linked").symlink_to(other)
    (run / "checkpoints/.link.part").symlink_to(other)
    shutil.copytree(run / "policy", run / ".policy.before")
    clear(run)
    assert sorted(str(p.relative_to(run)) for p in run.rglob("*")) == [
        "checkpoints",
        "checkpoints/step-00001",
        "checkpoints/step-00001/x",
        "evaluation",
        "evaluation/t1",
        "evaluation/t1/signals",
        "linked",
        "policy",
        "policy/.x",
    ]
    assert (other / ".kept.part").is_dir()


# --- from which one --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "lacking", "start"),
    [
        ([], [], 0),
        ([], [3], 0),
        ([3, 4], [], 4),
        ([3, 4], [4], 3),
        ([3, 4], [3, 1], 4),
        ([3, 4], [1, 4], 3),
        ([2, 4, 6], [5, 6], 4),
        ([2, 4, 6], [3, 6], 2),
        ([4], [4], 4),
    ],
)
def test_steps_that_lack_something_are_done_again_if_a_checkpoint_lies_before_them(kept, lacking, start):
    assert start_from(kept, lacking) == start


def test_a_run_goes_on_from_the_newest_whole_checkpoint_and_says_what_it_skips(cut, whole):
    file = cut / "checkpoints/step-00004/policy.safetensors"
    file.write_bytes(bytes(file.stat().st_size))
    told = resumed(cut, whole)
    assert len(told) == 1 and told[0].startswith(
        "skipped the checkpoint of step 4: it is not whole (policy.safetensors: "
    )
    assert checkpoints(cut / "checkpoints") == [4, 5]


def test_the_command_says_it_too(cut):
    (cut / "checkpoints/step-00004/state.json").write_text("")
    ended = actfocus("train", "--resume", str(cut), "--steps", "5", "--progress", "none", "--json")
    assert ended.returncode == 0 and json.loads(ended.stdout)["steps"] == 5
    assert "actfocus: warning: skipped the checkpoint of step 4: it is not whole (state.json: " in ended.stderr


def test_where_none_is_whole_the_run_begins_again_and_they_stay_until_one_is(cut, whole):
    for step in (3, 4):
        (cut / f"checkpoints/step-0000{step}/state.json").write_text("")
    seen = []

    def watch(phase, done, total):
        if phase == "train":
            seen.append(checkpoints(cut / "checkpoints"))

    told = []
    resume(cut, steps=5, on_progress=watch, on_warning=told.append)
    assert len(told) == 3 and told[-1] == "no checkpoint is whole: training starts again at step 0"
    assert seen == [[1, 3, 4], [1, 2, 3, 4], [2, 3, 4], [3, 4], [4, 5]]
    assert resumed(cut, whole) == [] and [row["step"] for row in results(cut)] == [0, 1, 2, 3, 4, 5]


def test_a_failure_names_a_whole_checkpoint(cut):
    (cut / "checkpoints/step-00004/policy.safetensors").write_bytes(b"")
    info = json.loads((cut / "run.json").read_text())
    info["config"] |= {"lr": 1e30, "epochs": 2, "kl_coef": 0.1}
    (cut / "run.json").write_text(json.dumps(info))
    with pytest.raises(ActFocusError, match="step 4: the gradient of the policy .* from the checkpoint of step 3"):
        resume(cut, steps=6)
    (cut / "checkpoints/step-00003/policy.safetensors").write_bytes(b"")
    with pytest.raises(ActFocusError, match="no checkpoint is whole, `actfocus train --resume` starts again"):
        resume(cut, steps=6)


@pytest.mark.parametrize("missing", ["rollouts", "signals", "metrics", "rollouts and signals"])
def test_a_step_is_done_again_unless_all_of_it_is_there(missing, cut, four, whole):
    for part, file in {
        "rollouts": "trajectories/step-00004.parquet",
        "signals": "signals/step-00004.tiny.parquet",
    }.items():
        if part in missing:
            (cut / file).unlink()
    if missing == "metrics":
        lines = (cut / "metrics.jsonl").read_text().splitlines(keepends=True)
        (cut / "metrics.jsonl").write_text("".join(lines[:-1]))
    assert resumed(cut, whole) == [f"step 4 without {missing}: repeated from the checkpoint of step 3"]
    for expected, found in zip(Run.open(four).trajectories(4), Run.open(cut).trajectories(4), strict=True):
        assert found.id == expected.id and np.array_equal(
            found.signals["ref_energy"], expected.signals["ref_energy"], equal_nan=True
        )


def test_what_no_checkpoint_can_bring_back_is_named(cut, whole):
    for step in (1, 2):
        (cut / f"signals/step-0000{step}.tiny.parquet").unlink()
    assert resumed(cut, whole) == [
        "steps 1 and 2 without signals, and no earlier checkpoint is kept; `actfocus score` adds them"
    ]


def test_signals_are_not_put_beside_other_rollouts_than_theirs(cut):
    """As when a step is done again on another machine."""
    (cut / "signals/step-00004.tiny.parquet").unlink()
    file = cut / "trajectories/step-00004.parquet"
    table = pq.read_table(file)
    column = table.schema.get_field_index("token_ids")
    changed = [[ids[0], *ids[1:-1], ids[-1] + 1] for ids in table["token_ids"].to_pylist()]
    pq.write_table(
        table.set_column(column, table.schema.field(column), pa.array(changed, table.schema.field(column).type)), file
    )
    stored, told = file.read_bytes(), []
    resume(cut, steps=5, on_warning=told.append)
    assert len(told) == 2 and told[1].startswith("the stored rollouts of step 4 differ from the repeated ones")
    assert file.read_bytes() == stored and Run.open(cut).references(4) == []


@pytest.mark.parametrize(
    ("changes", "scores"),
    [
        ({}, True),
        ({"scheme": "uniform"}, False),
        ({"scheme": "uniform", "kl_coef": 0.1}, True),
        ({"scheme_params": {"signal": "nll"}}, False),
        ({"prompts": 2, "keep_fraction": 0.5}, False),
        ({"keep_fraction": 0.5}, True),
        ({"scheme": "rest", "scheme_params": {"form": "entropy"}}, False),
    ],
)
def test_whether_signals_are_stored_is_known_from_the_config(changes, scores, tmp_path):
    run = train(TrainConfig.of(**{**CONFIG, "eval_every": 0, **changes}, steps=1), tmp_path / "run")
    config = TrainConfig.of(**{k: v for k, v in run.info["config"].items() if k != "command"})
    made = Session(config, load_policy("tiny", "cpu", "float32"), run)
    assert made.learner.scores_every_rollout is scores and bool(run.references(1)) is scores and made.warnings == []


def test_steps_whose_rollouts_are_not_stored_lack_nothing(tmp_path):
    path, told = tmp_path / "run", []
    train(TrainConfig.of(**{**CONFIG, "store_every": 2, "eval_every": 0}, steps=3), path)
    resume(path, steps=4, on_warning=told.append)
    assert told == [] and Run.open(path).steps() == [2, 4] and [row["step"] for row in results(path)] == [1, 2, 3, 4]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(OSError), atomic_folder(tmp_path / "a") as part:
        (part / "x").write_text("1")
        raise OSError
    assert list(tmp_path.iterdir()) == []
    for text in ("1", "2"):
        with atomic_folder(tmp_path / "a") as part:
            (part / "x").write_text(text)
    assert (tmp_path / "a/x").read_text() == "2" and [p.name for p in tmp_path.iterdir()] == ["a"]
