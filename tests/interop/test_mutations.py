"""500 damaged files a format: each becomes a run, or one clear line and nothing on disk.

By default a tenth of them; all with ``-m ""``.
"""

import copy
import json
import random

import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.interop import FORMATS, import_run
from actfocus_core.interop.formats.native import to_record
from tests.interop import files

NAMES = (*files.FORMATS, "jsonl", "parquet")
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
    return {name: own if name in ("jsonl", "parquet") else files.records(name, tokenizer)[:2] for name in NAMES}


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
    parquet = name in ("trl", "parquet")
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


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.slow)])
def test_damaged_files(name, count, originals, tokenizer_folder, tmp_path, monkeypatch):
    from actfocus_core.policy import load_tokenizer

    loaded = load_tokenizer(tokenizer_folder)
    monkeypatch.setattr("actfocus_core.policy.load_tokenizer", lambda _: loaded)  # read once, not 500 times
    dice, read, refused, made = random.Random(f"{name} {count}"), 0, 0, 0
    while made < count:
        path = damaged(name, originals[name], tmp_path, dice)
        if path is None:
            continue
        made += 1
        before, out = path.read_bytes(), tmp_path / f"run-{made}"
        try:
            run = import_run(
                path,
                out,
                format=name.removesuffix("-v0") if dice.random() < 0.5 else "auto",
                tokenizer=tokenizer_folder,
            )
            if made % 10 == 0:
                run.trajectories()
            read += 1
        except ActFocusError as error:
            message = str(error)
            assert "\n" not in message and path.name in message and 20 < len(message) < 600, message
            assert not out.exists(), message
            refused += 1
        assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
        assert path.read_bytes() == before
    assert read > count / 20 and refused > count / 20


def test_every_format_is_damaged():
    assert {name.removesuffix("-v0") for name in NAMES} == set(FORMATS)
