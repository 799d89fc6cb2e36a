"""Every importer, record by record: a record becomes trajectories that could be stored, or one clear line.

Whole files through ``import_run``, and that nothing is left of a refused one: ``tests/interop/test_mutations.py``.
"""

import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from actfocus_core.interop.converter import Converter
from actfocus_core.interop.formats import FORMATS
from actfocus_core.interop.formats.native import to_record
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import DataFile
from actfocus_core.interop.samples import Sample
from actfocus_core.runs.tables import annotation_table, facts_table
from actfocus_core.spans import RULES, span_rule
from actfocus_core.trajectory import Trajectory
from tests.conftest import make_tokenizer
from tests.fuzz.cases import FULL, SHARES, answered, fuzz
from tests.fuzz.damage import DEEP, Choices, damaged_bytes, damaged_value
from tests.fuzz.test_run_folder import trajectory
from tests.interop import files, test_mutations

NAMES = (*files.FORMATS, "jsonl", "parquet")


@cache
def folder() -> Path:
    folder.kept = tempfile.TemporaryDirectory(prefix="actfocus-fuzz-")
    return Path(folder.kept.name)


@cache
def tokenizer():
    return make_tokenizer()


@cache
def renderer(rule: str) -> Converter:
    return Converter(tokenizer(), span_rule(rule), "m", 1.0)


@cache
def records(name: str) -> list[dict]:
    return [to_record(trajectory(0))] if name in ("jsonl", "parquet") else files.records(name, tokenizer())[:2]


def check(name: str, data: bytes, rule: str) -> None:
    """What the format makes of a file can be laid out and is of the columns' types."""
    format = FORMATS[name.removesuffix("-v0")]
    path = folder() / "7.jsonl"
    path.write_bytes(data)
    found = answered(lambda: list(format.read(DataFile(path), Omissions(strict=True))))
    for one in found or []:
        made = [one] if isinstance(one, Trajectory) else answered(lambda: list(renderer(rule).trajectories([one])))  # noqa: B023
        for t in made or []:
            assert (
                isinstance(one, (Sample, Trajectory)) and t.token_ids.dtype == np.int32 and t.kinds.max(initial=0) <= 5
            )
            facts_table([t]), annotation_table([t], "")
            "".join([t.id, t.group, t.env, t.model, *t.texts]).encode("utf-8")


def lines(choices: Choices) -> tuple[str, bytes]:
    name = choices.pick(NAMES)
    return name, damaged_bytes(choices, "".join(json.dumps(row) + "\n" for row in records(name)).encode())


def record(choices: Choices) -> tuple[str, bytes]:
    name = choices.pick(NAMES)
    return name, json.dumps(damaged_value(choices, records(name)[0], faults=3)).encode() + b"\n"


def rule(choices: Choices) -> str:
    return choices.pick(sorted(RULES))


def test_there_are_as_many_cases_as_we_say():
    assert sum(SHARES.values()) + 11 * 50 == FULL and len(test_mutations.NAMES) == 11


@fuzz(
    "lines",
    {"case": ("chat", DEEP.encode()), "rule": "think_answer"},
    {"case": ("verl", b'{"a":' * 5000), "rule": "react"},
    case=lines,
    rule=rule,
)
def test_any_bytes_in_a_file(case, rule):
    check(*case, rule)


@fuzz("records", case=record, rule=rule)
def test_any_value_in_a_record(case, rule):
    check(*case, rule)
