"""The page of the run folder lists what is stored, and its example is the one of ``RunWriter``, which runs."""

import json
import re
from inspect import getdoc
from pathlib import Path
from textwrap import dedent

import numpy as np
import pyarrow as pa

from actfocus_core.runs import Provenance, Run, RunWriter
from actfocus_core.runs.schema import COLUMNS, COUNTS, OPTIONAL, RECORDED_PREFIX, SCALARS, TURN
from actfocus_core.trajectory import RECORDED, TokenKind

PAGE = (Path(__file__).parents[2] / "docs/runs.md").read_text(encoding="utf-8")


def _tables(page: str) -> dict[str, list[list[str]]]:
    """First heading cell and how many there are -> the rows, of every table of a page."""
    found = {}
    for head, body in re.findall(r"^\|(.+)\|\n\|[-|]+\|\n((?:\|.+\|\n)+)", page, re.M):
        cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in body.splitlines()]
        found[f"{head.split('|')[0].strip()} {head.count('|') + 1}"] = [[c.strip(" |") for c in row] for row in cells]
    return found


def _shown(kind: pa.DataType) -> str:
    text = "list<struct>" if kind == COLUMNS["turn_records"] else str(kind)
    return text.replace("element: ", "").replace("item: ", "")


def test_every_column_is_on_the_page_with_its_type():
    tables = _tables(PAGE)
    required = {name.strip("`"): kind for name, kind, _ in tables["column 3"]}
    assert required == {name: _shown(kind) for name, kind in {**SCALARS, **COUNTS, **COLUMNS}.items()}
    optional = {name.strip("`"): kind for name, kind, _, _ in tables["column 4"]}
    assert optional == {name: _shown(kind) for name, kind in OPTIONAL.items()}
    streams = {name.strip("`"): text for name, text in tables["column 2"]}
    assert streams == {RECORDED_PREFIX + name: text for name, text in RECORDED.items()}
    assert all(f"`{field.name}`" in PAGE for field in TURN) and all(
        f"{k.name.lower()} {int(k)}" in PAGE for k in TokenKind
    )


def test_every_key_of_run_json_is_on_the_page(tmp_path):
    run = Run.create(tmp_path / "r", {}, provenance=Provenance.all_recorded())
    info = json.loads((run.path / "run.json").read_text())
    assert [name.strip("`") for name, _ in _tables(PAGE)["key 2"]] == [
        *(key for key in info if key not in ("provenance", "created", "versions")),
        "provenance",
        "created",
        "versions",
    ]
    assert all(f"`{name}`" in PAGE for name in Provenance.model_fields)


def example() -> str:
    """The code in the docstring of ``RunWriter``."""
    doc = getdoc(RunWriter)
    return dedent(re.search(r"^    from actfocus_core.*?(?=^\S)", doc, re.M | re.S)[0]).strip()


def test_the_example_is_on_the_page_and_runs(tmp_path, monkeypatch):
    assert re.search(r"```python\n(.*?)```", PAGE, re.S)[1].strip() == example()
    monkeypatch.chdir(tmp_path)
    exec(example(), {})
    run = Run.open("runs/mine")
    assert [p.facts(run.path).name for p in run.parts()] == ["step-00001.part-0000.parquet"]
    assert run.metrics()[0] == [{"step": 1, "reward/return": 0.5}] and run.metadata.env == "sums"
    right, wrong = run.trajectories(1)
    assert right.success is True and wrong.success is False and right.text() == "2 + 2 = 4<end>"
    assert right.rewards == {"right": (1.0, 1.0)} and np.isfinite(right.logprobs).tolist() == [False, False, True, True]
    assert right.text(TokenKind.ACTION) == "4"
