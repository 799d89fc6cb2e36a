"""200 damaged files a format: each becomes a run, a run with counted omissions, or one clear line and nothing on disk.

Also files that are cut at any byte, values of a wrong type, which never become another number, and folders with one
damaged file. By default a tenth of them; all with ``-m ""``.
"""

import copy
import json
import math
import random
from collections import Counter
from functools import partial

import numpy as np
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.interop import FORMATS, import_run
from actfocus_core.interop.formats.native import to_record
from actfocus_core.runs import Run
from actfocus_core.trajectory import Trajectory
from tests.interop import files, more_rows, rows_logs, rows_miles

NAMES = (*files.FORMATS, "jsonl", "parquet")
ALL = (*NAMES, *more_rows.FORMATS, *rows_miles.FORMATS, *rows_logs.FORMATS)
TYPED = (*NAMES, *rows_logs.FORMATS)
NASTY = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**70),
    10**400,
    1.5,
    -0.0,
    float("nan"),
    float("inf"),
    1e308,
    "",
    "x",
    "é\n",
    "\ud800",
    "\x00",
    "<think>",
    [],
    [1],
    ["a"],
    [None],
    [[1, [2]]],
    [{}],
    {},
    {"a": 1},
    {"role": "user"},
    [{"role": "assistant", "content": "<answer>"}],
    [1, "a", None, 2.5],
]


@pytest.fixture(scope="module")
def originals(tokenizer, rollouts):
    own = [to_record(t) for t in rollouts[:2]]
    for record in own:
        # Two turns are enough, and quick.
        for name in ("token_ids", "kinds", "turns", "texts", "logprobs"):
            record[name] = record[name][:60]
        record["signals"] = {name: values[:60] for name, values in record["signals"].items()}
        record["alternatives"] = {name: values[:60] for name, values in record["alternatives"].items()}
    small = {name: files.records(name, tokenizer)[:2] for name in files.FORMATS}
    return (
        small
        | {name: rows.records(name, tokenizer) for rows in (more_rows, rows_miles, rows_logs) for name in rows.FORMATS}
        | {"jsonl": own, "parquet": own}
    )


def places(value, at=()):
    """Every place in a nest of lists and objects."""
    yield at
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*at, key))
    elif isinstance(value, list):
        for number in {0, len(value) // 2, len(value) - 1} if value else ():
            yield from places(value[number], (*at, number))


def mutate_rows(rows: list, dice: random.Random) -> list:
    """One value somewhere is replaced, removed, doubled, or swapped with another."""
    rows = copy.deepcopy(rows)
    *way, last = dice.choice([p for p in places(rows) if len(p) > 1])
    parent = rows
    for key in way:
        parent = parent[key]
    kind = dice.randrange(5)
    if kind == 0:
        del parent[last]
    elif kind == 1 and isinstance(parent[last], list):
        parent[last] = parent[last] + parent[last][:1] if dice.random() < 0.5 else parent[last][:-1]
    elif kind == 2 and isinstance(parent, dict):
        other = dice.choice(list(parent))
        parent[last], parent[other] = parent[other], parent[last]
    else:
        parent[last] = dice.choice(NASTY)
    return rows


def mutate_bytes(data: bytes, dice: random.Random) -> bytes:
    data = bytearray(data)
    for _ in range(dice.randrange(1, 4)):
        at, kind = dice.randrange(len(data)), dice.randrange(4)
        if kind == 0:
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            del data[at : at + dice.randrange(1, 40)]
        elif kind == 2:
            data[at:at] = dice.choice([b"\xff", b"\x00", b"[[", b'"', b"\n", b"{}", b"1e999", b"\\ud800"])
        else:
            data = data[: at + 1]
        if not data:
            return b""
    return bytes(data)


def write_parquet(path, rows) -> bool:
    """As a Parquet file with whatever types these rows have; not all can be written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.write_table(pa.Table.from_pylist(rows), path)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return False
    return True


def damaged(name: str, rows: list, folder, dice: random.Random):
    """One damaged file, None where these rows cannot be written in the format."""
    parquet = name in ("trl", "parquet", "miles")
    path = folder / ("file.parquet" if parquet else "7.jsonl")
    in_bytes = dice.random() < 0.3
    rows = rows if in_bytes else mutate_rows(rows, dice)
    if parquet:
        if not write_parquet(path, rows):
            return None
        if in_bytes:
            path.write_bytes(mutate_bytes(path.read_bytes(), dice))
    else:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode("utf-8")
        path.write_bytes(mutate_bytes(data, dice) if in_bytes else data)
    return path


@pytest.fixture
def read(tokenizer_folder, tmp_path, monkeypatch):
    """Import a path; the run's config and its trajectories, or the error, after which nothing is on disk."""
    from actfocus_core.policy import load_tokenizer

    loaded = load_tokenizer(tokenizer_folder)
    monkeypatch.setattr("actfocus_core.policy.load_tokenizer", lambda _: loaded)  # read once, not 200 times
    runs = tmp_path / "runs"
    runs.mkdir()

    def read(path, format: str = "auto") -> tuple[dict, list[Trajectory]] | str:
        out = runs / f"{len([*runs.iterdir()])}"
        try:
            run = import_run(path, out, format=format, tokenizer=tokenizer_folder)
        except ActFocusError as error:
            message = str(error)
            assert "\n" not in message and path.name in message and 20 < len(message) < 600, message
            assert not out.exists(), message
            return message
        finally:
            assert not [file for file in runs.iterdir() if file.name.startswith(".")]
        return run.info["config"], list(Run.open(run.path).trajectories())

    return read


def sampled(function, names=NAMES):
    """A test that damages ``count`` files of each format."""
    counts = pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
    return pytest.mark.parametrize("name", names)(counts(function))


@partial(sampled, names=ALL)
def test_damaged_files(name, count, originals, read, tmp_path):
    dice, results = random.Random(f"{name} {count}"), Counter()
    while results.total() < count:
        path = damaged(name, originals[name], tmp_path, dice)
        if path is None:
            continue
        before = path.read_bytes()
        result = read(path, format_of(name) if dice.random() < 0.5 else "auto")
        assert path.read_bytes() == before
        results["refused" if isinstance(result, str) else "read"] += 1
    assert results["read"] and (count < 200 or min(results["read"], results["refused"]) > count / 20)


def format_of(name: str) -> str:
    return name.removesuffix("-v0")


def test_every_format_is_damaged():
    assert {format_of(name) for name in ALL} == set(FORMATS)


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("chat", {"messages": []}, "records that cannot be read"),
        ("verifiers", {"traces": []}, "episodes without a trace"),
        ("verifiers", {"traces": [{"nodes": [], "rewards": {}}]}, "traces without a node"),
    ],
)
def test_a_record_without_a_dialogue_is_counted(name, change, what, originals, read, tmp_path):
    path = tmp_path / "7.jsonl"
    assert write_rows(path, [{**originals[name][0], **change}, originals[name][1]])
    config, trajectories = read(path)
    assert len(trajectories) == 1 and config["left_out"] == {what: 1}


def test_a_column_whose_metadata_is_damaged(originals, read, tmp_path):
    """One of its bytes, of which pyarrow would end the process if it were asked for the column."""
    path = tmp_path / "file.parquet"
    assert write_parquet(path, originals["trl"])
    whole = path.read_bytes()
    length = int.from_bytes(whole[-8:-4], "little")
    for at in range(len(whole) - 8 - length, len(whole) - 8, 11):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        read(path, "trl")


# --- cut files -----------------------------------------------------------------------------


@sampled
def test_files_cut_at_any_byte(name, count, originals, read, tmp_path):
    """What is complete is read; a record that is cut is counted. Parquet is complete or refused."""
    path, dice = tmp_path / ("file.parquet" if name in ("trl", "parquet") else "7.jsonl"), random.Random(name)
    if path.suffix == ".parquet":
        assert write_parquet(path, originals[name])
        whole = path.read_bytes()
    else:
        whole = "".join(json.dumps(row) + "\n" for row in originals[name]).encode()
    ends = [at for at, byte in enumerate(whole) if byte == ord("\n")]
    for _ in range(count):
        cut = dice.randrange(1, len(whole))
        path.write_bytes(whole[:cut])
        result = read(path, format_of(name))
        complete = [end for end in ends if end <= cut]
        if path.suffix == ".parquet" or not complete:
            assert isinstance(result, str)
            continue
        config, trajectories = result
        assert len(trajectories) == len(complete)
        assert sum(config.get("left_out", {}).values()) == (cut > complete[-1] + 1)


# --- values of a wrong type ----------------------------------------------------------------

WRONG = [True, "x", "\ud800", [], [1], [None], {}, {"a": 1}, 1.5]
TYPES = {int: "number", float: "number"}


def type_name(value) -> str:
    return TYPES.get(type(value), type(value).__name__)


def allowed_types(name: str, field, value) -> set[str]:
    """The types of a field's valid values. SkyRL's score is a number or one per token, Inspect's a letter or a number."""
    also = {("skyrl", "score"): {"number"}, ("inspect", "value"): {"number", "bool"}}
    return {type_name(value)} | also.get((name, field), set())


def numbers(t: Trajectory) -> dict[str, object]:
    """The numbers of a trajectory; None or NaN is unknown."""
    found = {"reward": t.reward, "success": t.success, "step": t.step}
    found |= {f"component {name}": component.score * component.weight for name, component in t.rewards.items()}
    return found | {f"stream {name}": values for name, values in {**t.signals, "logprob": t.logprobs}.items()}


def is_unknown(value) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def check_numbers(t: Trajectory, original: Trajectory, config: dict) -> None:
    """Every number is that of the original, or unknown. TRL's reward is the sum of the columns that the run names."""
    expected = numbers(original)
    if config["format"] == "trl":
        expected["reward"] = sum(original.rewards[column].score for column in config["reward_columns"])
        expected["success"] = expected["reward"] >= 1
    for key, value in numbers(t).items():
        if isinstance(value, np.ndarray):
            if np.array_equal(t.token_ids, original.token_ids) and not np.isnan(value).all():
                known = ~np.isnan(value)
                np.testing.assert_array_equal(value[known], expected[key][known])
        else:
            assert is_unknown(value) or value == expected[key], (key, value, expected.get(key))


@partial(sampled, names=TYPED)
def test_a_value_of_a_wrong_type_is_no_other_number(name, count, originals, read, tmp_path):
    rows, dice = originals[name], random.Random(f"{name} types")
    path = tmp_path / ("file.parquet" if name in ("trl", "parquet") else "7.jsonl")
    write_rows(path, rows)
    _, expected = read(path)
    found = [place for place in places(rows[0]) if place]
    for _ in range(count):
        *way, last = dice.choice(found)
        broken = copy.deepcopy(rows)
        # All rows of a column of Parquet have one type.
        for row in broken if path.suffix == ".parquet" else broken[:1]:
            parent = row
            for key in way:
                parent = parent[key]
            if parent[last] is not None:
                wrong = [value for value in WRONG if type_name(value) not in allowed_types(name, last, parent[last])]
                parent[last] = dice.choice(wrong) if path.suffix != ".parquet" else "x"
        if not write_rows(path, broken):
            continue
        result = read(path, format_of(name))
        if isinstance(result, str):
            continue
        config, trajectories = result
        if len(trajectories) == len(expected):
            for t, original in zip(trajectories, expected):
                check_numbers(t, original, config)
        else:
            assert sum(config["left_out"].values())


def write_rows(path, rows) -> bool:
    """Whether these rows can be written."""
    if path.suffix == ".parquet":
        return write_parquet(path, rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return True


# --- folders -------------------------------------------------------------------------------


def identities(name: str, trajectories: list[Trajectory]) -> Counter:
    return Counter((t.token_ids.tobytes(), name == "trl" or str(t.reward)) for t in trajectories)


@sampled
def test_folders_with_one_damaged_file(name, count, originals, read, tmp_path):
    """The other files are read as if it were not there, but for TRL's rewards, which all files determine."""
    dice = random.Random(f"{name} folders")
    suffix = ".parquet" if name in ("trl", "parquet") else ".jsonl"
    folder, bad = tmp_path / "folder", tmp_path / "bad"
    folder.mkdir(), bad.mkdir()
    for number in (1, 3):
        rows = copy.deepcopy(originals[name])
        for index, row in enumerate(rows):
            row |= {"id": f"{number}-{index}"} if "id" in row else {}
        assert write_rows(folder / f"{number}{suffix}", rows)
    _, expected = read(folder)
    for _ in range(count):
        path = damaged(name, originals[name], bad, dice)
        if path is None:
            continue
        path.rename(folder / f"2{suffix}")
        result = read(folder)
        if isinstance(result, str):
            # A damaged file can hold a rollout with the name of another.
            assert name in ("jsonl", "parquet") and "2" in result, result
            continue
        config, trajectories = result
        assert not identities(name, expected) - identities(name, trajectories)
