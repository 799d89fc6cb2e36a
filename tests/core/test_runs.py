import json
import threading

import numpy as np
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run, atomic_run
from actfocus_core.trajectory import Trajectory


def _same(a: Trajectory, b: Trajectory) -> None:
    for name, value in vars(a).items():
        other = getattr(b, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other)
            assert value.dtype == other.dtype
        elif name == "signals":
            assert value.keys() == other.keys()
            for signal in value:
                np.testing.assert_array_equal(value[signal], other[signal])
        elif name == "alternatives":
            np.testing.assert_array_equal(value.ids, other.ids)
            np.testing.assert_array_equal(value.logprobs, other.logprobs)
            assert value.texts == other.texts
        else:
            assert value == other, name


def test_a_run_reads_back_exactly_what_was_written(run, rollouts):
    opened = Run.open(run.path)
    for written, read in zip(rollouts, opened.trajectories(), strict=True):
        _same(written, read)
    _same(rollouts[-1], opened.trajectory(rollouts[-1].id))


def test_more_trajectories_than_a_row_group_are_found_by_id(tmp_path, rollouts):
    run = Run.create(tmp_path / "r", {})
    many = [Trajectory(**{**vars(rollouts[i % len(rollouts)]), "id": f"t{i}"}) for i in range(150)]
    run.add_trajectories(3, many)
    run.annotate(3, "tiny", many[::-1])
    for i in (0, 63, 64, 149):
        _same(many[i], run.trajectory(f"t{i}"))


def test_the_index_reads_no_token(run, rollouts):
    index = run.index()
    assert index["id"].tolist() == [t.id for t in rollouts]
    assert index["return"].tolist() == [t.ret for t in rollouts]
    assert index["n_action"].sum() == sum((t.kinds == 4).sum() for t in rollouts)
    assert "token_ids" not in index


def test_facts_are_never_rewritten(run, rollouts):
    with pytest.raises(ActFocusError, match="never rewritten"):
        run.add_trajectories(0, rollouts)


def test_ids_are_unique(tmp_path, rollouts):
    run = Run.create(tmp_path / "r", {})
    with pytest.raises(ActFocusError, match="two trajectories have the id"):
        run.add_trajectories(0, [rollouts[0], rollouts[0]])
    assert list((run.path / "trajectories").iterdir()) == []


def test_a_second_reference_stands_beside_the_first(tmp_path, rollouts):
    run = Run.create(tmp_path / "r", {})
    run.add_trajectories(0, rollouts)
    assert "ref_energy" not in run.trajectories(0)[0].signals
    run.annotate(0, "Qwen/Qwen2.5", rollouts)
    run.annotate(0, "tiny", rollouts)
    assert run.references() == ["Qwen-Qwen2.5", "tiny"]
    assert "ref_energy" in run.trajectories(0, reference="Qwen/Qwen2.5")[0].signals
    with pytest.raises(ActFocusError, match="no signals of 'other'"):
        run.trajectories(0, reference="other")


def test_a_run_is_readable_while_it_is_written(tmp_path, rollouts):
    run, seen, stop = Run.create(tmp_path / "r", {}), [], threading.Event()

    def read():
        while not stop.is_set():
            opened, offset = Run.open(run.path), 0
            rows, offset = opened.metrics(offset)
            seen.append((len(opened.index()), len(opened.trajectories()), len(rows)))

    reader = threading.Thread(target=read)
    reader.start()
    for step in range(12):
        run.add_trajectories(step, [Trajectory(**{**vars(t), "id": f"{step}-{t.id}", "step": step}) for t in rollouts])
        run.log({"step": step})
    stop.set()
    reader.join()
    # Every reading saw whole steps, and later readings never saw less.
    assert seen and all(a % len(rollouts) == 0 and b >= a for a, b, _ in seen)
    assert sorted(a for a, _, _ in seen) == [a for a, _, _ in seen]


def test_metrics_are_read_from_a_cursor_and_a_half_line_waits(tmp_path):
    run = Run.create(tmp_path / "r", {})
    assert run.metrics() == ([], 0)
    run.log({"step": 0})
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 1')
    rows, offset = run.metrics()
    assert rows == [{"step": 0}]
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write("}\n")
    assert run.metrics(offset)[0] == [{"step": 1}]


def test_a_run_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(TypeError):
        Run.create(tmp_path / "r", {"not json": object()})
    assert not (tmp_path / "r").exists()
    Run.create(tmp_path / "r", {})
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda p: (p / "run.json").write_text("{"), "not readable JSON"),
        (lambda p: (p / "run.json").write_text('{"format": "other"}'), "not an actfocus run"),
        (lambda p: (p / "run.json").write_text('{"format": "actfocus-run", "version": 99}'), "reads version 1"),
        (lambda p: (p / "run.json").unlink(), "no run.json"),
        (lambda p: (p / "trajectories/step-00000.parquet").write_bytes(b"PAR1junk"), "not readable as Parquet"),
    ],
)
def test_broken_runs_say_what_and_where_in_one_line(tmp_path, rollouts, break_it, says):
    run = Run.create(tmp_path / "r", {})
    run.add_trajectories(0, rollouts)
    break_it(run.path)
    with pytest.raises(ActFocusError, match=says) as error:
        Run.open(run.path).trajectories()
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_a_missing_column_is_named(tmp_path, rollouts):
    import pyarrow.parquet as pq

    run = Run.create(tmp_path / "r", {})
    file = run.add_trajectories(0, rollouts)
    pq.write_table(pq.read_table(file).drop_columns(["kinds"]), file)
    with pytest.raises(ActFocusError, match="no column 'kinds'"):
        run.trajectories()


def test_run_json_says_how_the_run_was_made(run):
    info = json.loads((run.path / "run.json").read_text())
    assert info["config"]["env"] == "frozen_lake" and "torch" in info["versions"]


def test_a_run_made_in_one_go_is_hidden_until_it_is_whole(tmp_path, rollouts):
    with pytest.raises(RuntimeError), atomic_run(tmp_path / "r", {}) as run:
        run.add_trajectories(0, rollouts)
        assert not (tmp_path / "r").exists()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic_run(tmp_path / "r", {}) as run:
        run.add_trajectories(0, rollouts)
    assert len(Run.open(tmp_path / "r").index()) == len(rollouts) and run.path == tmp_path / "r"
    with pytest.raises(ActFocusError, match="already exists"), atomic_run(tmp_path / "r", {}):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["r"]
