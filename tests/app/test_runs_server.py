"""The run picker's requests: which runs there are, and how they are renamed, deleted and restored."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_studio.data import run_folders, run_sizes
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.data.run_sizes import RunSizes
from actfocus_studio.data.trash import DAYS, FOLDER, Trash
from tests.app.sample import make_run
from tests.app.server import Api


@pytest.fixture
def folder(tmp_path) -> Path:
    make_run(tmp_path / "runs" / "mine", prompts=1, rollouts=2)
    return tmp_path / "runs"


def kept(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def names(answer: dict) -> list[str]:
    return [run["name"] for run in answer["runs"]]


# --- the list --------------------------------------------------------------------------------------


def test_runs_are_listed_by_section_newest_first(folder):
    for name, command in (("trained", "train"), ("of-trl", "trl"), ("older", "rollout")):
        run = Run.create(folder / name, {"command": command, "scheme": "uniform"}, {"name": "my-policy"})
        os.utime(run.path / "run.json", (1_000_000, 1_000_000))
    Run.create(folder / "trained" / "evaluation" / "step-3", {"command": "evaluate"})
    found = Api(folder=folder)("runs/list")
    samples = sorted(path.name for path in (assets() / "runs").iterdir())
    assert found["counts"] == {
        "samples": len(samples),
        "yours": 2,
        "experiments": 2,
        "evaluations": 1,
    }
    assert sorted(names(found)[: len(samples)]) == samples
    assert names(found)[len(samples) :] == ["mine", "older", "of-trl", "trained", "trained evaluation step-3"]
    assert Api(folder=folder)("runs/list", section="experiments", order="name")["matches"] == 2
    # Only runs of the folder itself can be renamed or deleted.
    assert [run["name"] for run in found["runs"] if not run["why_kept"]] == ["mine", "older", "of-trl", "trained"]


def test_a_search_looks_for_every_word_in_name_environment_policy_and_scheme(folder):
    Run.create(
        folder / "Sokoban-7", {"command": "train", "env": "sokoban", "scheme": "actfocus"}, {"name": "big-policy"}
    )
    ask = Api(folder=folder)
    for text in ("sokoban-7", "BIG actfocus", "policy 7"):
        assert names(ask("runs/list", search=text)) == ["Sokoban-7"]
    assert names(ask("runs/list", search="big frozen")) == []


def test_a_long_list_comes_in_parts(folder):
    for k in range(230):
        (folder / f"r{k:03d}").mkdir()
        (folder / f"r{k:03d}" / "run.json").write_text("{}")
    ask = Api(folder=folder)
    parts = [ask("runs/list", section="yours", order="name", offset=offset) for offset in (0, 100, 200, 300)]
    assert [len(part["runs"]) for part in parts] == [100, 100, 31, 0]
    assert [name for part in parts for name in names(part)] == ["mine", *(f"r{k:03d}" for k in range(230))]


def test_an_open_run_costs_no_look_at_the_others(folder, monkeypatch):
    """Of ten thousand folders none is read when a trajectory is opened."""
    ask = Api(folder=folder)
    assert ask("trace/open", view={"run": "mine"})["run"]["name"] == "mine"
    looked = []
    monkeypatch.setattr(Catalog, "paths", lambda self: looked.append(self) or {})
    opened = ask("trace/open", view={"run": "mine"})
    assert opened["run"]["name"] == "mine" and "runs" not in opened and looked == []


def test_a_run_is_found_as_soon_as_it_is_complete(folder):
    folders = run_folders.RunFolders(folder)
    assert [path.name for path in folders.list()] == ["mine"]
    (folder / "copied").mkdir()
    assert [path.name for path in folders.list()] == ["mine"]
    time.sleep(run_folders.SETTLED_NS / 1e9 + 0.02)
    assert [path.name for path in folders.list()] == ["mine"]
    # The folder of runs does not change when a file is written into one of them.
    (folder / "copied" / "run.json").write_text("{}")
    assert [path.name for path in folders.list()] == ["copied", "mine"]
    shutil.rmtree(folder / "mine")
    assert [path.name for path in folders.list()] == ["copied"]


def test_a_name_that_no_page_could_send_is_listed_under_another_one(folder):
    make_run(folder / "a\nb\u202e", prompts=1)
    found = next(
        run for run in Api(folder=folder)("runs/list")["runs"] if run["section"] == "yours" and run["name"] != "mine"
    )
    assert found["name"] == "a\ufffdb\ufffd"
    assert Api(folder=folder)("trace/open", view={"run": found["name"]})["run"]["name"] == found["name"]


# --- sizes -------------------------------------------------------------------------------------------


def test_sizes_are_those_of_the_rollouts(folder):
    run = make_run(folder / "two-steps", prompts=3, rollouts=4, steps=2)
    index = run.index()
    [size] = Api(folder=folder)("runs/sizes", names=["two-steps"])["sizes"]
    assert (size["rollouts"], size["tokens"]) == (len(index), int(index["n_tokens"].sum()))
    assert (size["successes"], size["failures"], size["unknown"]) == (
        int(index["success"].sum()),
        int((~index["success"]).sum()),
        0,
    )
    assert size["bytes"] == sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file())


def test_unknown_success_is_counted_as_such_and_segments_count_once(tmp_path):
    run = make_run(tmp_path / "source", prompts=1, rollouts=4)
    rollouts = run.trajectories(0)
    for t, success, rollout in zip(rollouts, (True, True, None, False), ("a", "a", "", "")):
        t.success, t.rollout_id = success, rollout
    Run.create(tmp_path / "run", {}).add_trajectories(0, rollouts)
    [size] = RunSizes().of([("run", tmp_path / "run")])
    assert (size.rollouts, size.successes, size.failures, size.unknown) == (3, 1, 1, 1)


def test_what_cannot_be_counted_says_why(folder):
    (folder / "broken").mkdir()
    (folder / "broken" / "run.json").write_text("{not json")
    (folder / "linked").mkdir()
    shutil.copy(folder / "mine" / "run.json", folder / "linked" / "run.json")
    (folder / "linked" / "trajectories").symlink_to(folder / "mine" / "trajectories")
    sizes = Api(folder=folder)("runs/sizes", names=["broken", "nowhere", "linked"])["sizes"]
    assert ["not readable JSON" in sizes[0]["error"], "no run" in sizes[1]["error"], "link" in sizes[2]["error"]] == [
        True
    ] * 3
    assert all(size["rollouts"] is None and size["successes"] is None for size in sizes)


def test_counting_goes_on_where_the_time_was_up(tmp_path):
    run = make_run(tmp_path / "run", prompts=1, rollouts=2, steps=5)
    sizes = RunSizes()
    answers = [sizes.of([("run", run.path)], seconds=0) for _ in range(5)]
    assert answers[:4] == [[]] * 4 and answers[4][0].rollouts == 10
    # What is counted is counted again only where a file changed.
    assert sizes.of([("run", run.path)], seconds=0)[0].rollouts == 10
    run.add_trajectories(9, make_run(tmp_path / "more", prompts=1, rollouts=3).trajectories(0))
    assert sizes.of([("run", run.path)], seconds=0)[0].rollouts == 13


def test_the_size_of_a_folder_does_not_follow_links(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").write_bytes(b"x" * 10)
    (tmp_path / "run" / "self").symlink_to(tmp_path / "run")
    (tmp_path / "run" / "big").symlink_to("/usr/bin/env")
    assert run_sizes.size_of(tmp_path / "run") == 10


# --- renaming, deleting, restoring ---------------------------------------------------------------------


def test_a_run_is_renamed_and_opens_under_its_new_name(folder):
    ask = Api(folder / "mine", folder=folder)
    assert ask("runs/rename", run="mine", name="a new name") == {"run": "a new name"}
    assert ask("trace/open", view={})["run"]["name"] == "a new name"
    assert "no run" in ask("trace/open", view={"run": "mine"})["error"]
    for taken in ("sokoban", "a new name"):
        assert "already" in ask("runs/rename", run="a new name", name=taken)["error"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".hidden",
        "../up",
        "a/b",
        "a\\b",
        "-rf",
        "a\nb",
        "\u202ea",
        " a",
        "x" * 101,
        "\u00e9" * 101,
        "/abs",
        "..",
    ],
)
def test_a_name_that_is_none_is_refused(folder, name):
    before = kept(folder)
    assert "the name of a run" in Api(folder=folder)("runs/rename", run="mine", name=name)["error"]
    assert kept(folder) == before


def test_a_deleted_run_is_restored_as_it_was(folder):
    before = {file: file.read_bytes() for file in (folder / "mine").rglob("*") if file.is_file()}
    ask = Api(folder=folder)
    answer = ask("runs/delete", run="mine")
    assert answer["expires"] - answer["deleted"] == DAYS * 86_400
    assert not (folder / "mine").exists() and "mine" not in names(ask("runs/list"))
    assert [run["run"] for run in ask("runs/trash")["runs"]] == ["mine"] and ask("runs/list")["deleted"] == 1
    assert ask("runs/restore", id=answer["id"]) == {"run": "mine"}
    assert {file: file.read_bytes() for file in (folder / "mine").rglob("*") if file.is_file()} == before
    assert ask("runs/trash")["runs"] == [] and "not among the deleted" in ask("runs/restore", id=answer["id"])["error"]


def test_a_run_whose_name_was_taken_comes_back_beside_it(folder):
    ask = Api(folder=folder)
    first = ask("runs/delete", run="mine")
    make_run(folder / "mine", prompts=1, rollouts=3)
    second = ask("runs/delete", run="mine")
    make_run(folder / "mine", prompts=1, rollouts=4)
    assert [ask("runs/restore", id=one["id"])["run"] for one in (second, first)] == ["mine-2", "mine-3"]
    sizes = ask("runs/sizes", names=["mine", "mine-2", "mine-3"])["sizes"]
    assert [size["rollouts"] for size in sizes] == [4, 3, 2]


def test_what_was_deleted_long_ago_is_removed_and_nothing_else(folder):
    trash = Trash(folder)
    old, new = trash.delete("mine"), None
    make_run(folder / "mine", prompts=1)
    new = trash.delete("mine")
    past = folder / FOLDER / f"{int(time.time()) - DAYS * 86_400 - 5}-{old.id.partition('-')[2]}"
    (folder / FOLDER / old.id).rename(past)
    (folder / FOLDER / "note.txt").write_text("not ours")
    Api(folder=folder)
    deadline = time.monotonic() + 20
    while past.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sorted(path.name for path in (folder / FOLDER).iterdir()) == sorted([new.id, "note.txt"])


def test_a_run_is_removed_for_good(folder):
    ask = Api(folder=folder)
    id = ask("runs/delete", run="mine")["id"]
    assert ask("runs/remove", id=id) == {"run": "mine"}
    assert kept(folder) == [FOLDER]


def test_nothing_outside_of_the_folder_is_touched(folder):
    """Links lead out of it: as a run, inside a run, and in place of the trash."""
    outside = folder.parent / "outside"
    make_run(outside, prompts=1)
    (folder / "link").symlink_to(outside)
    (folder / "mine" / "out").symlink_to(outside)
    before, ask = kept(outside), Api(outside, folder=folder)
    for run in ("link", "outside"):
        for answer in (ask("runs/delete", run=run), ask("runs/rename", run=run, name="other")):
            assert "error" in answer, (run, answer)
    with pytest.raises(Exception, match="link to a folder elsewhere"):
        Trash(folder).delete("link")
    for name in ("..", ".", "", "../outside", "mine/trajectories", ".trash", "nowhere", "a\0b"):
        with pytest.raises(Exception, match="no run of this name"):
            Trash(folder).delete(name)
    ask("runs/remove", id=ask("runs/delete", run="mine")["id"])
    assert kept(outside) == before and kept(folder) == [FOLDER, "link"]
    (folder / FOLDER).rmdir()
    (folder / FOLDER).symlink_to(outside)
    make_run(folder / "mine", prompts=1)
    assert "cannot be changed" in ask("runs/delete", run="mine")["error"]
    assert kept(outside) == before and (folder / "mine" / "run.json").exists()
    for id in ("..", "../mine", "1700000000-0123abcd", "x" * 150, ""):
        assert "not among the deleted" in ask("runs/remove", id=id)["error"]


def test_samples_evaluations_and_a_read_only_studio_refuse(folder):
    Run.create(folder / "trained", {"command": "train"})
    Run.create(folder / "trained" / "evaluation" / "step-3", {"command": "evaluate"})
    before, ask, hosted = kept(folder), Api(folder=folder), Api(folder=folder, read_only=True)
    refused = (
        (ask, "sokoban", "sample"),
        (ask, "trained evaluation step-3", "belongs to its training run"),
        (hosted, "mine", "read-only"),
    )
    for studio, run, why in refused:
        assert why in studio("runs/delete", run=run)["error"]
        assert why in studio("runs/rename", run=run, name="other")["error"]
        listed = next(one for one in studio("runs/list")["runs"] if one["name"] == run)
        assert why in listed["why_kept"]
    Trash(folder).delete("mine")
    id = Trash(folder).listing()[0].id
    assert hosted("runs/trash")["runs"] == []
    for operation in ("restore", "remove"):
        assert "read-only" in hosted(f"runs/{operation}", id=id)["error"]
    assert len(kept(folder)) == len(before) + 2


def test_a_run_that_is_trained_or_worked_on_refuses(folder, monkeypatch):
    from actfocus_core.train.control import training_lock, write_status
    from actfocus_studio.jobs.signals import Signals
    from actfocus_studio.jobs.worker import Status

    ask = Api(folder=folder)
    monkeypatch.setattr(Signals, "status", lambda self: Status("running", "job", "mine"))
    for answer in (ask("runs/delete", run="mine"), ask("runs/rename", run="mine", name="other")):
        assert "being computed" in answer["error"]
    monkeypatch.undo()
    with training_lock(folder / "mine"):
        write_status(folder / "mine", state="running", step=1)
        assert "being trained" in ask("runs/delete", run="mine")["error"]
    assert ask("runs/delete", run="mine")["run"] == "mine"


def test_an_experiment_that_is_not_over_keeps_its_runs(folder):
    from actfocus_core.train.control import write_status

    race = {
        "id": "experiment-lake-1",
        "made": 1.0,
        "steps": 3,
        "request": {
            "environment": "Sokoban",
            "algorithm": "grpo",
            "schemes": ["uniform"],
            "seeds": 1,
            "time": "30 seconds",
        },
        "runs": [{"name": name, "scheme": "uniform", "seed": k} for k, name in enumerate(("mine", "second"))],
    }
    (folder / ".races").mkdir()
    (folder / ".races" / "experiment-lake-1.json").write_text(json.dumps(race))
    (folder / "second").mkdir()
    ask = Api(folder=folder)
    write_status(folder / "mine", state="finished", step=3)
    write_status(folder / "second", state="finished", step=3)
    assert "finds its runs by their names" in ask("runs/rename", run="mine", name="other")["error"]
    assert ask("runs/delete", run="mine")["run"] == "mine"
