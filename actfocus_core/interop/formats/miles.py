"""miles' ``--dump-details``: the exact tokens of each sample, joined with what is known about it.

Source: ``miles/ray/rollout/debug_data.py`` and ``miles/dashboard/dump_reader.py``, August and September 2026::

    dashboard_columns/rollout_{N|eval_N}.parquet   tokens, loss_mask and rollout_log_probs of the response
    trajectory/{N|eval_N}.jsonl                    group, status and reward of the samples that have a conversation
    dashboard/cache/rollout_{N|eval_N}.parquet     the dashboard's table of all samples, if it was opened

The other files of a dump are pickles. A sample is named by ``sample_index`` and how often that occurred before, as a rollout
with several contexts is several samples of one index. A loss mask of null means the whole response. Without group, rollouts
with equal prompts are one group.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.fields import scalars
from actfocus_core.interop.formats.preparation import NOT_NEEDED, READ_ALONG, Prepared
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import DataFile, Record, read_records, read_rows
from actfocus_core.interop.reading.folders import UNREADABLE
from actfocus_core.interop.samples import Sample, Tokens

_NAME = re.compile(r"rollout_(eval_)?([0-9]{1,9})")
_FIELDS = {"sample_index", "response_length", "total_length", "tokens"}
_KNOWN = {
    "sample_index",
    "sample_occurrence",
    "group_index",
    "status",
    "reward",
    "remove_sample",
    "prompt",
    "messages",
    "response_length",
    "total_length",
    "truncated",
}
ENDED_BADLY = ("aborted", "failed")
UNKNOWN = "entries of samples that are not in dashboard_columns"
AMBIGUOUS = "entries of contexts that cannot be told apart"

Key = tuple[int, int]
"""(sample_index, how often it occurred before in the file)"""


def matches(fields: dict[str, Any]) -> bool:
    return set(fields) >= _FIELDS


def beside(fields: dict[str, Any]) -> str | None:
    """What a file with these fields in its first record is, if miles writes it beside the columns."""
    if {"sample_index", "group_index", "status"} <= set(fields):
        return READ_ALONG
    return NOT_NEEDED if "_summary_version" in fields else None


def companions(path: Path) -> list[Path]:
    """The table of the dashboard and the trajectories that belong to a file of columns, as far as they exist."""
    name, dump = _NAME.fullmatch(path.stem), path.parent.parent
    if name is None or path.parent.name != "dashboard_columns":
        return []
    stem = f"{name[1] or ''}{name[2]}"
    found = [("dashboard", "cache", f"rollout_{stem}.parquet"), ("trajectory", f"{stem}.jsonl")]
    return [file for parts in found if (file := _regular(dump, *parts)) is not None]


def prepared(files: list[DataFile], given: Sequence[str] | None, omissions: Omissions) -> Prepared:
    """``samples`` that joins each file with its companions when its first row is read."""
    table = _Table()

    def finish(omissions: Omissions) -> None:
        for what, number in table.left_out.items():
            omissions.add(what, number=number)

    def joined(record: Record, file: DataFile) -> Iterator[Sample]:
        table.open(file.path, omissions)
        yield from samples(record, file, table)

    return Prepared(joined, finish=finish)


def samples(record: Record, file: DataFile, table: _Table | None = None) -> Iterator[Sample]:
    index = record.integer("sample_index", None)
    known, count = table.entry(index, record) if table is not None and index is not None else (record, 1)
    name = _NAME.fullmatch(file.path.stem)
    status = known.text("status", "") or ""
    group = known.integer("group_index", None)
    columns = scalars(known, _KNOWN | {name for name in known.value if name.startswith("_")})
    yield Sample(
        record.where,
        _tokens(record),
        "" if group is None else str(group),
        step=int(name[2]) if name else None,
        reward=known.number("reward", known.number("raw_reward", float("nan"))),
        terminated=status in ("", "completed"),
        truncated=status == "truncated",
        rollout=str(index) if count > 1 else "",
        columns=columns | ({"split": "eval"} if name and name[1] else {}),
        error=status if status in ENDED_BADLY else "",
        stop_reason=status,
        trained=not known.flag("remove_sample", False),
    )


def _tokens(record: Record) -> Tokens:
    ids = record.ids("tokens")
    total = record.integer("total_length")
    if total != len(ids):
        raise record.error("'total_length'", f"is {total}; it must be {len(ids)}, the number of tokens")
    length = record.integer("response_length", high=len(ids))
    sampled = np.arange(len(ids)) >= len(ids) - length
    if "loss_mask" in record:
        sampled[len(ids) - length :] = record.mask("loss_mask", length)
    logprobs = np.full(len(ids), np.nan, np.float32)
    if "rollout_log_probs" in record:
        logprobs[len(ids) - length :] = record.floats("rollout_log_probs", length)
    # Tokens of the environment have the log-prob 0.
    return Tokens(ids, sampled, np.where(sampled, logprobs, np.float32(np.nan)), prompt=len(ids) - length)


def _regular(dump: Path, *parts: str) -> Path | None:
    """The file below a folder if it is one and no link leads to it."""
    path = dump
    for part in parts:
        path = path / part
        if path.is_symlink():
            return None
    return path if path.is_file() else None


class _Table:
    """What the companions of one file of columns say about its samples. Memory grows with the samples of that file."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self._path: Path | None = None

    def open(self, path: Path, omissions: Omissions) -> None:
        """Read the companions of a file, unless they were the last that were read."""
        if path == self._path:
            return
        self._path, self._seen, self._entries = path, Counter[int](), dict[Key, dict[str, Any]]()
        indices = (row.value.get("sample_index") for row in read_rows(path, Omissions(), columns=["sample_index"]))
        self._counts = Counter(index for index in indices if isinstance(index, int))
        for file in companions(path):
            try:
                self._add(file, omissions)
            except ActFocusError as error:
                omissions.refuse(UNREADABLE, error)

    def entry(self, index: int, record: Record) -> tuple[Record, int]:
        """What is known about the next sample with this index, and how many there are."""
        key = index, self._seen[index]
        self._seen[index] += 1
        return Record(self._entries.get(key, {}), record.where, from_table=True), self._counts[index]

    def _add(self, file: Path, omissions: Omissions) -> None:
        """Add the entries of a companion; its values replace those of the companions before."""
        rows = [_scalars(record.value) for record in read_records(file, omissions)]
        entries = Counter(row.get("sample_index") for row in rows)
        before: Counter[Any] = Counter()
        for row in rows:
            index = row.get("sample_index")
            occurrence = row.get("sample_occurrence", before[index])
            before[index] += 1
            if not isinstance(index, int) or index not in self._counts or not isinstance(occurrence, int):
                self.left_out[UNKNOWN] += 1
            elif "sample_occurrence" not in row and entries[index] != self._counts[index]:
                # The samples without a conversation are not in the file, and it does not say which those are.
                self.left_out[AMBIGUOUS] += 1
            else:
                self._entries.setdefault((index, occurrence), {}).update(row)


def _scalars(row: dict[str, Any]) -> dict[str, Any]:
    """The numbers, truth values and texts of an entry, without its conversation."""
    return {
        name: value
        for name, value in row.items()
        if isinstance(value, (str, int, float)) and name not in ("prompt", "messages")
    }
