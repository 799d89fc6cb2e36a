"""Schema 2 of a run: what is stored reads back, runs of schema 1 open as before, damage is named."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfocus_core.errors import ActFocusError
from actfocus_core.paths import assets
from actfocus_core.runs import Provenance, Run, Source, read_trajectories, write_trajectories
from actfocus_core.runs.schema import COLUMNS, COUNTS, OPTIONAL, RECORDED_PREFIX, SCALARS
from actfocus_core.trajectory import RECORDED, Trajectory
from tests.core.segments import NAN, assert_same, full


def _stored(path, *trajectories: Trajectory) -> Run:
    run = Run.create(path, {})
    run.add_trajectories(2, list(trajectories))
    return Run.open(run.path)


def _plain(id: str = "plain") -> Trajectory:
    return Trajectory(id, [1, 2], [1, 4], [0, 0], [NAN, -1.0], ["q", "a"], group="a", step=2)


def test_every_field_reads_back(tmp_path):
    written = [full(), _plain(), full("a-2", trainable=False, success=False, recorded={"value": [NAN] * 8}, rewards={})]
    run = _stored(tmp_path / "r", *written)
    for read in (run.trajectories(), list(run.stream()), [run.trajectory(t.id) for t in written]):
        for a, b in zip(written, read, strict=True):
            assert_same(a, b)
    write_trajectories(written, tmp_path / "out.parquet")
    for a, b in zip(written, read_trajectories(tmp_path / "out.parquet"), strict=True):
        assert_same(a, b)


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
values = st.none() | st.recursive(
    words | st.integers() | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(words, inner)
)


@given(
    st.fixed_dictionaries(
        {
            "success": st.sampled_from([True, False, None]),
            "reward": st.floats(),
            "segment": st.integers(0, 2**31 - 1),
            "parent": st.none(),
            "agent": words,
            "trainable": st.booleans(),
            "in_loss": st.none() | st.lists(st.booleans(), min_size=8, max_size=8),
            "policy_version": st.none() | st.lists(st.integers(-1, 2**31 - 1), min_size=8, max_size=8),
            "recorded": st.dictionaries(
                st.sampled_from([*RECORDED]), st.lists(st.floats(width=32), min_size=8, max_size=8)
            ),
            "rewards": st.dictionaries(words, st.tuples(st.floats(), st.just(NAN))),
            "error": words,
            "stop_reason": words,
        }
    ),
    st.lists(st.tuples(values, values, values), min_size=2, max_size=2),
)
def test_any_values_read_back(tmp_path_factory, fields, turns):
    t = full(**fields)
    for turn, given_to in zip(t.turn_records, turns):
        turn.messages, turn.tools, turn.calls = given_to
    assert_same(t, _stored(tmp_path_factory.mktemp("r") / "r", t, _plain()).trajectories()[0])


def test_what_nothing_uses_is_not_written(tmp_path):
    run = _stored(tmp_path / "r", _plain())
    names = set(pq.read_schema(run.parts()[0].facts(run.path)).names)
    assert names == {*SCALARS, *COUNTS, *COLUMNS}
    names = set(pq.read_schema((found := _stored(tmp_path / "s", full())).parts()[0].facts(found.path)).names)
    assert names == {
        *SCALARS,
        *COUNTS,
        *COLUMNS,
        *OPTIONAL,
        *(RECORDED_PREFIX + name for name in RECORDED),
        "signal:entropy",
    } - {"trainable"}


def test_the_index_knows_rollouts_and_agents_and_says_what_is_unknown(tmp_path):
    index = _stored(tmp_path / "r", full(), _plain(), full("j", trainable=False, success=True)).index()
    assert index["rollout_id"].tolist() == ["a-r", "", "a-r"] and index["segment"].tolist() == [2, 0, 2]
    assert index["agent"].tolist() == ["solver", "", "solver"] and index["trainable"].tolist() == [True, True, False]
    assert index["success"].isna().tolist() == [True, True, False] and index["success"].mean() == 1
    with pytest.raises(ValueError, match="missing|NA"):
        index["success"].to_numpy(bool)


@pytest.mark.parametrize("name", sorted(p.name for p in (assets() / "runs").iterdir()))
def test_a_run_of_schema_1_opens_as_before(name):
    run = Run.open(assets() / "runs" / name)
    assert "schema" not in run.info and run.metadata.schema_number == 1
    assert run.metadata.provenance.kinds == Source(how="recorded")
    ts = run.trajectories()
    assert ts and all(
        t.success in (True, False) and t.segment == 0 and t.trainable and t.in_loss is None and not t.recorded
        for t in ts
    )
    assert all((t.loss_mask == t.response_mask).all() for t in ts)
    assert run.index()["success"].to_numpy(bool).tolist() == [t.success for t in ts]


def test_a_table_of_schema_1_with_its_optional_columns_reads_as_before(tmp_path):
    """Written out as the first version wrote it: ``columns`` and ``rollout_id`` alone, null for none."""
    run = _stored(tmp_path / "r", full("a-1"), _plain())
    file = run.parts()[0].facts(run.path)
    table = pq.read_table(file)
    old = table.select([*SCALARS, *COUNTS, *COLUMNS, "columns", "rollout_id"])
    old = old.set_column(old.column_names.index("success"), "success", pa.array([True, False]))
    pq.write_table(old, file)
    (run.path / "run.json").write_text(json.dumps({"format": "actfocus-run", "version": 1, "config": {}}))
    first, second = Run.open(run.path).trajectories()
    assert first.columns == {"note": "x", "n": 1} and first.rollout_id == "a-r" and first.success is True
    assert second.columns == {} and second.rollout_id == "" and second.success is False and first.parent is None


def test_run_json_says_the_schema_and_where_facts_come_from(tmp_path):
    provenance = Provenance(ids=Source(how="recorded"), kinds=Source(how="derived", rule="think_answer"))
    run = Run.open(Run.create(tmp_path / "r", {}, provenance=provenance).path)
    assert run.info["version"] == 1 and run.info["schema"] == 2
    assert run.metadata.provenance == provenance and run.metadata.provenance.mask is None


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"schema": 3}, "reads up to 2; upgrade actfocus"),
        ({"schema": "2"}, "whole number from 1 to 2"),
        ({"schema": 0}, "whole number from 1 to 2"),
        ({"provenance": []}, '"provenance" must be an object of ids, kinds'),
        ({"provenance": {"ids": {"how": "perhaps"}}}, '"provenance" must be'),
        ({"provenance": {"ids": {"how": "derived"}}}, "must name its rule"),
    ],
)
def test_run_json_that_cannot_be_read_says_why_in_one_line(tmp_path, entry, says):
    file = Run.create(tmp_path / "r", {}).path / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entry))
    with pytest.raises(ActFocusError, match=says) as error:
        Run.open(tmp_path / "r")
    assert str(file) in str(error.value) and "\n" not in str(error.value)


def _with(table: pa.Table, name: str, value, kind: pa.DataType | None = None) -> pa.Table:
    kind = kind or table.schema.field(name).type
    return table.set_column(table.column_names.index(name), name, pa.array([value], kind))


DAMAGE = {
    "columns": "{",
    "rollout_id": 5,
    "segment": -1,
    "parent": {"segment": None, "token": 1},
    "agent": 5,
    "trainable": 1.5,
    "in_loss": [True] * 7 + [None],
    "policy_version": [1] * 7 + [None],
    "rewards": [{"name": "a", "score": 1.0, "weight": 1.0}] * 2,
    "error": 5,
    "stop_reason": 5,
    "turn_messages": ["{}"],
    "turn_tools": ["[1", None],
    "turn_calls": ['"\\ud800"', None],
    "recorded:value": [0.5],
    "success": 1.5,
}
KINDS = {5: pa.int64(), 1.5: pa.float64()}


@pytest.mark.parametrize("name", [*OPTIONAL, "recorded:value", "success"])
def test_a_damaged_value_is_named_in_one_line(tmp_path, name):
    run = _stored(tmp_path / "r", full(trainable=False))
    file = run.parts()[0].facts(run.path)
    value = DAMAGE[name]
    pq.write_table(
        _with(pq.read_table(file), name, value, KINDS.get(value) if isinstance(value, (int, float)) else None), file
    )
    for read in (run.trajectories, lambda: list(run.stream()), lambda: run.trajectory("a-1")):
        with pytest.raises(ActFocusError) as error:
            read()
        told = str(error.value)
        assert str(file) in told and name.removeprefix(RECORDED_PREFIX) in told and "\n" not in told


@pytest.mark.parametrize("name", [*OPTIONAL, "recorded:value"])
def test_a_column_of_another_type_is_named(tmp_path, name):
    run = _stored(tmp_path / "r", full(trainable=False))
    file = run.parts()[0].facts(run.path)
    pq.write_table(_with(pq.read_table(file), name, b"x", pa.binary()), file)
    with pytest.raises(ActFocusError, match=f"column '{name}' is binary"):
        run.trajectories()


def test_a_stream_nobody_knows_is_refused(tmp_path):
    run = _stored(tmp_path / "r", full())
    file = run.parts()[0].facts(run.path)
    table = pq.read_table(file)
    pq.write_table(
        table.rename_columns([n.replace("recorded:value", "recorded:worth") for n in table.column_names]), file
    )
    with pytest.raises(ActFocusError, match="unknown stream 'worth' in recorded; allowed: trainer_logprob"):
        run.trajectories()


def test_messages_that_are_not_json_are_refused_before_anything_is_written(tmp_path):
    t = full()
    t.turn_records[0].messages = [np.float32(1)]
    with pytest.raises(ActFocusError, match="trajectory a-1: messages of a turn must be JSON"):
        _stored(tmp_path / "r", t)
    assert not list((tmp_path / "r/trajectories").iterdir())
