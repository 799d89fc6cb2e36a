"""Folders of rollouts: which files are read, and what the names of the folders tell."""

import json
import os
import socket

import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.formats import FORMATS, data_files, recognise
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import DataFile, read_records
from actfocus_core.interop.reading.folders import data_file

ROW = {"messages": [{"role": "user", "content": "x"}], "reward": 1.0}
LINE = json.dumps(ROW) + "\n"


@pytest.mark.parametrize(
    ("name", "step", "split", "scope"),
    [
        ("step_12/rank_0.jsonl", 12, "", ""),
        ("step-12/a.jsonl", 12, "", ""),
        ("step=7/train/all/traces.jsonl", 7, "train", "train/all"),
        ("global_step_3_evals/gsm8k.jsonl", 3, "eval", ""),
        ("maze--m1/aaaa/results.jsonl", None, "", "maze--m1/aaaa"),
        ("completions/completions_00005.parquet", 5, "", "completions"),
        ("step_2/completions_00005.parquet", 2, "", ""),
        ("step_1/eval/step_2/a.jsonl", 2, "eval", "eval"),
        ("rollouts_step_40.jsonl", 40, "", ""),
        ("step_0/train_rollouts.jsonl", 0, "train", ""),
        ("validation/120.jsonl", None, "eval", "validation"),
        ("max_steps_100/n_steps_5.jsonl", None, "", "max_steps_100"),
        ("contest/latest.jsonl", None, "", "contest"),
    ],
)
def test_folders_tell_step_split_and_scope(name, step, split, scope, tmp_path):
    path = tmp_path / name
    assert data_file(tmp_path, path) == DataFile(path, step, split, scope)


@pytest.mark.parametrize("root", ["step_4", "step_4/eval", "step_4/eval/all", "step_4/eval/all/a.jsonl"])
def test_a_part_of_a_step_knows_its_step(root, file, tmp_path, monkeypatch):
    path = file(LINE, "test/step_4/eval/all/a.jsonl")
    (found,) = data_files(tmp_path / "test" / root, FORMATS["chat"])
    assert (found.path, found.step, found.split) == (path, 4, "eval")
    monkeypatch.chdir(path.parent)
    assert data_file(path.relative_to(path.parent).parent, path.relative_to(path.parent)).step == 4


def test_the_files_of_a_folder(file, tmp_path):
    """One bad file does not stop a folder; everything that could be rollouts and is not read is counted."""
    for name in ("step_2/rank_1.jsonl", "step_2/rank_0.jsonl", "step_10/rank_0", "²/a.traj"):
        file(json.dumps(ROW, indent=1), f"out/{name}")
    for name, content in {
        "b.jsonl": LINE.encode("utf-16"),
        "c.parquet": b"PAR1",
        "d.jsonl": b"no JSON\n",
        "e.json": b'{"x": 1}',
        "z.jsonl": b'{"input": "", "output": "", "score": 1}',
        "g.csv": b"a,b",
        "h.jsonl": b"\n",
        "i.pt": b"\x80\x02",
        "config.json": b"{}",
        "trainer_state.json": b"{}",
        "README.md": b"#",
        "events.out.tfevents.1": b"\0",
        ".hidden.jsonl": LINE.encode(),
        ".cache/a.jsonl": LINE.encode(),
    }.items():
        file(content, f"out/{name}")
    folder = tmp_path / "out"
    (folder / "latest").symlink_to("step_10")
    (folder / "link.jsonl").symlink_to("step_2/rank_0.jsonl")
    os.mkfifo(folder / "fifo.jsonl")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
        omissions = Omissions()
        files = data_files(folder, recognise(folder), omissions)
    assert [str(found.path.relative_to(folder)) for found in files] == [
        "step_2/rank_0.jsonl",
        "step_2/rank_1.jsonl",
        "step_10/rank_0",
        "²/a.traj",
    ]
    assert files[0].scope == files[1].scope and [found.step for found in files] == [2, 2, 10, None]
    assert omissions.counts == {
        "files that cannot be read": 3,
        "files of another format": 3,
        "empty files": 1,
        "pickles and other dumps, which are never loaded": 1,
        "links and special files in folders, which are not followed": 4,
    }
    with pytest.raises(ActFocusError, match=r"b.jsonl: is UTF-16"):
        data_files(folder, FORMATS["chat"], Omissions(strict=True))


def test_a_file_that_is_named_may_be_a_link(file, tmp_path):
    file(LINE, "a/b.jsonl")
    (tmp_path / "link.jsonl").symlink_to("a/b.jsonl")
    (tmp_path / "folder").symlink_to("a")
    for root in ("link.jsonl", "folder"):
        (found,) = data_files(tmp_path / root, recognise(tmp_path / root))
        assert [record.value for record in read_records(found.path, Omissions(strict=True))] == [ROW]
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ActFocusError, match="is neither a file nor a folder"):
        recognise(tmp_path / "fifo")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"a.json": b'{"x": 1}', "b.jsonl": LINE.encode("utf-16")}, r"a.json: not a known format \(its fields: x\)"),
        ({"a.csv": b"a", "b.jsonl": LINE.encode("utf-16")}, r"b.jsonl: is UTF-16"),
        ({"a.csv": b"a", "b.pt": b"x"}, "b.pt: a torch pickle, which is never loaded"),
        ({"a.csv": b"a"}, "a.csv: is neither JSON nor Parquet"),
        ({"config.json": b"{}"}, "contains no file of rollouts; it must contain JSON or Parquet files"),
    ],
)
def test_a_folder_without_rollouts_is_refused(names, says, file, tmp_path):
    for name, content in names.items():
        file(content, f"out/{name}")
    with pytest.raises(ActFocusError, match=says):
        recognise(tmp_path / "out")
    with pytest.raises(ActFocusError):
        data_files(tmp_path / "out", FORMATS["chat"])


def test_effective_rollouts_repeat_all_rollouts(file, tmp_path):
    for name in (
        "all/a",
        "effective/a",
        "effective/b",
        "step_1/eval/effective/a",
        "step_2/all/a",
        "step_2/effective/a",
    ):
        file(LINE, f"out/{name}.jsonl")
    omissions = Omissions()
    files = data_files(tmp_path / "out", FORMATS["chat"], omissions)
    assert [str(found.path.relative_to(tmp_path / "out")) for found in files] == [
        "all/a.jsonl",
        "effective/b.jsonl",
        "step_1/eval/effective/a.jsonl",
        "step_2/all/a.jsonl",
    ]
    assert omissions.counts == {"files that repeat rollouts of the folder 'all'": 2}
    (alone,) = data_files(tmp_path / "out/step_2/effective", FORMATS["chat"])
    assert alone.scope == ""
