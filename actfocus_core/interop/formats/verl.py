"""verl's ``trainer.rollout_data_dir``: ``{step}.jsonl``, text that is usually decoded without special tokens.

Since version 0.8 a row's ``uid`` is ``{uid}_{session}_{index}``: the prompt, its rollout, and the rollout's context.
In earlier versions it is the prompt. The reward is ``score``, the outcome ``acc`` where it states one; what else the reward
function returned is a column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from actfocus_core.interop.fields import number, scalars, success_of
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import Sample, Text

_KEY = re.compile(r"(.+)_([0-9]+)_[0-9]+", re.S)
_KNOWN = {"input", "output", "score", "step", "acc", "data_source"}


def matches(fields: dict[str, Any]) -> bool:
    return {"input", "output", "score"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    name = file.path.name.split(".")[0]
    step = int(name) if name.isascii() and name.isdigit() and len(name) < 9 else None
    uid = record.key("uid", None)
    key = _KEY.fullmatch(uid) if uid else None
    yield Sample(
        record.where,
        Text(record.text("input"), record.text("output")),
        key[1] if key else uid or "",
        step=record.integer("step", step),
        env=record.text("data_source", ""),
        reward=number(record, "score"),
        success=success_of(record, ("acc",)),
        rollout=key[2] if key else "",
        columns=scalars(record, _KNOWN if key else _KNOWN | {"uid"}) | _rate(record),
    )


def _rate(record: Record) -> dict[str, Any]:
    """``acc`` as a column where it is no outcome."""
    return (
        scalars(Record({"acc": record.value.get("acc")}, record.where), ())
        if success_of(record, ("acc",)) is None
        else {}
    )
