"""Steps in parts, and ``RunWriter``: what ended is kept, whole and at once, and read with the rest of its step."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from actfocus_core.credit import Batch
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.exporting import export_run
from actfocus_core.runs import Part, Run, RunWriter
from actfocus_core.trajectory import Trajectory
from tests.core.segments import assert_same


def _bare(rollouts) -> list[Trajectory]:
    """The rollouts without a reference's signals, all of step 3."""
    return [
        replace(t, step=3, alternatives=None, signals={n: v for n, v in t.signals.items() if not n.startswith("ref_")})
        for t in rollouts
    ]


@pytest.fixture
def parted(tmp_path, rollouts) -> Run:
    """Step 3 as an undivided file and two parts."""
    ts = _bare(rollouts)
    run = Run.create(tmp_path / "r", {})
    run.add_trajectories(3, ts[:2])
    run.add_part(3, ts[2:3])
    run.add_part(3, ts[3:])
    return run


def test_all_parts_of_a_step_are_read_in_order(parted, rollouts):
    names = ["step-00003.parquet", "step-00003.part-0000.parquet", "step-00003.part-0001.parquet"]
    assert [part.facts(parted.path).name for part in parted.parts(3)] == names and parted.steps() == [3]
    for read in (parted.trajectories(), parted.trajectories(3), list(parted.stream(3))):
        for a, b in zip(_bare(rollouts), read, strict=True):
            assert_same(a, b)
    assert parted.index()["id"].tolist() == [t.id for t in rollouts]
    for t in _bare(rollouts):
        assert_same(t, parted.trajectory(t.id))


def test_more_than_ten_thousand_parts_keep_their_order(tmp_path):
    parts = [Part(3, number) for number in (0, 9_999, 10_000)]
    assert [p.facts(tmp_path).name[11:-8] for p in sorted(parts)] == ["part-0000", "part-9999", "part-10000"]


def test_ids_are_unique_in_a_step_and_nothing_is_rewritten(parted, rollouts):
    files = {f: f.read_bytes() for f in parted.path.rglob("*.parquet")}
    with pytest.raises(ActFocusError, match="part-0002.*two trajectories have the id"):
        parted.add_part(3, _bare(rollouts)[:1])
    with pytest.raises(ActFocusError, match="already written"):
        parted.add_trajectories(3, [])
    assert {f: f.read_bytes() for f in parted.path.rglob("*.parquet")} == files


def test_an_annotation_follows_the_parts(parted, rollouts):
    last = parted.annotate(3, "tiny", [*rollouts][::-1], {"policy": "tiny"})
    assert last.name == "step-00003.part-0001.tiny.parquet"
    assert sorted(f.name for f in (parted.path / "signals").iterdir()) == [
        "step-00003.part-0000.tiny.parquet",
        "step-00003.part-0001.tiny.parquet",
        "step-00003.tiny.parquet",
    ]
    assert parted.references(3) == ["tiny"] and parted.annotated_steps("tiny") == {3}
    assert parted.annotation_metadata(3, "tiny") == {"policy": "tiny"}
    for a, b, c in zip(rollouts, parted.trajectories(3), parted.stream(3, "tiny"), strict=True):
        np.testing.assert_array_equal(a.signals["ref_energy"], b.signals["ref_energy"])
        np.testing.assert_array_equal(a.signals["ref_energy"], c.signals["ref_energy"])
        np.testing.assert_array_equal(a.alternatives.ids, b.alternatives.ids)


def test_a_part_that_came_later_is_read_without_signals_until_it_is_scored(parted, rollouts):
    parted.annotate(3, "tiny", rollouts, {"top_k": 5})
    late = [replace(t, id=f"late-{t.id}", step=3, signals={}, alternatives=None) for t in rollouts[:2]]
    parted.add_part(3, late)
    assert parted.references(3) == ["tiny"] and parted.annotated_steps("tiny") == set()
    read = parted.trajectories(3)
    assert ["ref_energy" in t.signals for t in read] == [True] * len(rollouts) + [False] * 2
    assert "ref_energy" not in parted.trajectory(late[0].id).signals and not Batch.of(read).has("energy")
    scored = [replace(t, id=f"late-{t.id}") for t in rollouts[:2]]
    parted.annotate(3, "tiny", scored, {"top_k": 9})
    assert parted.annotated_steps("tiny") == {3} and Batch.of(parted.trajectories(3)).has("energy")
    with pytest.raises(ActFocusError, match="computed differently"):
        parted.annotation_metadata(3, "tiny")


def test_what_was_scored_while_the_step_grew_is_stored(parted, rollouts):
    """The trajectories were read before the last part appeared."""
    parted.add_part(3, [replace(rollouts[0], id="late", step=3)])
    parted.annotate(3, "tiny", rollouts)
    assert parted.annotated_steps("tiny") == set() and "ref_energy" in parted.trajectories(3)[0].signals


@pytest.mark.parametrize("given", [slice(0, 1), slice(0, 0), slice(2, 4)])
def test_a_part_is_annotated_as_a_whole_or_not_at_all(parted, rollouts, given):
    with pytest.raises(ActFocusError, match="an annotation must cover all"):
        parted.annotate(3, "tiny", rollouts[given])
    assert not list((parted.path / "signals").iterdir())


def test_a_reference_cannot_be_called_like_a_part(parted, rollouts):
    with pytest.raises(ActFocusError, match="reads as a part"):
        parted.annotate(3, "part-0001", rollouts)
    parted.annotate(3, "part-1", rollouts)
    assert parted.references() == ["part-1"]


def test_exporting_takes_all_parts(parted, rollouts, tmp_path):
    path, count = export_run(parted, tmp_path / "x.jsonl", "jsonl")
    assert count == len(rollouts) == len(path.read_text().splitlines())


def test_a_run_that_grows_by_parts_is_readable_all_the_time(tmp_path, rollouts):
    run, seen, stop = Run.create(tmp_path / "r", {}), [], threading.Event()

    def read():
        while not stop.is_set():
            opened = Run.open(run.path)
            seen.append((len(opened.index()), len(opened.trajectories())))

    reader = threading.Thread(target=read)
    reader.start()
    with RunWriter(run, "tiny") as writer:
        for k in range(12):
            for t in rollouts:
                writer.add(replace(t, id=f"{k}-{t.id}", step=k // 4))
            writer.flush()
    stop.set()
    reader.join()
    assert seen and all(a % len(rollouts) == 0 and b >= a for a, b in seen)
    assert sorted(seen) == seen
    whole = Run.open(run.path)
    assert len(whole.trajectories()) == 12 * len(rollouts) and len(whole.parts(1)) == 4
    assert whole.annotated_steps("tiny") == {0, 1, 2}


def test_without_flush_a_step_is_one_file(tmp_path, rollouts):
    run = Run.create(tmp_path / "r", {})
    with RunWriter(run, "tiny") as writer:
        for k in range(70):
            writer.add(replace(rollouts[0], id=f"t{k}", step=k % 2))
        assert run.steps() == []
    assert run.parts() == [Part(0), Part(1)] and len(run.trajectories(0)) == 35
    assert sorted(f.name for f in run.path.rglob("*") if f.is_file()) == [
        "run.json",
        "step-00000.parquet",
        "step-00000.tiny.parquet",
        "step-00001.parquet",
        "step-00001.tiny.parquet",
    ]


def test_a_writer_goes_on_with_a_run(tmp_path, rollouts):
    run = Run.create(tmp_path / "r", {})
    ts = _bare(rollouts)
    run.add_trajectories(3, ts[:2])
    with RunWriter(Run.open(run.path)) as writer:
        with pytest.raises(ActFocusError, match="two trajectories have the id"):
            writer.add(ts[0])
        for t in ts[2:]:
            writer.add(t)
    assert run.parts() == [Part(3), Part(3, 0)] and [t.id for t in run.trajectories()] == [t.id for t in rollouts]


def test_an_error_loses_only_what_was_not_flushed(tmp_path, rollouts):
    run = Run.create(tmp_path / "r", {})
    with pytest.raises(RuntimeError), RunWriter(run) as writer:
        writer.add(rollouts[0])
        writer.flush()
        for k in range(70):
            writer.add(replace(rollouts[1], id=f"t{k}"))
        raise RuntimeError
    assert [t.id for t in run.trajectories()] == [rollouts[0].id]
    assert not list(run.path.rglob(".*"))


KILLED = """
import os, signal, sys
from dataclasses import replace
from actfocus_core.paths import assets
from actfocus_core.runs import Run, RunWriter

some = Run.open(assets() / "runs/frozen-lake").trajectories()[0]
with RunWriter(Run.create(sys.argv[1], {})) as writer:
    for k in range(500):
        writer.add(replace(some, id=f"t{k}"))
        if k % 100 == 99:
            writer.flush()
        if k == 350:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_what_it_flushed_and_can_go_on(tmp_path):
    ended = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "r"], env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ended.returncode == -signal.SIGKILL
    run = Run.open(tmp_path / "r")
    assert len(run.parts()) == 3 and [t.id for t in run.stream()] == [f"t{k}" for k in range(300)]
    with RunWriter(run) as writer:
        writer.add(replace(run.trajectory("t0"), id="after"))
    assert Run.open(tmp_path / "r").index()["id"].tolist()[-1] == "after"


def test_a_damaged_part_is_named(parted):
    file = Part(3, 1).facts(parted.path)
    file.write_bytes(b"PAR1junk")
    with pytest.raises(ActFocusError, match="part-0001.parquet: not readable as Parquet"):
        parted.trajectories()
    pq.write_table(pq.read_table(Part(3).facts(parted.path)).drop_columns(["kinds"]), file)
    with pytest.raises(ActFocusError, match="part-0001.parquet: no column 'kinds'"):
        Run.open(parted.path).trajectories()


def test_files_of_other_names_are_no_part(parted):
    for name in ("step-00003.part-x.parquet", "step-3.parquet", "step-00003.tiny.parquet", "step-00004.part-1.parquet"):
        (Path(parted.path) / "trajectories" / name).write_bytes(b"junk")
    assert len(parted.parts()) == 3 and parted.steps() == [3]
