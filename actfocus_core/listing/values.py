"""The computed columns of a run: step by step, with those steps read from the cache that did not change."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actfocus_core.errors import ActFocusError
from actfocus_core.listing.batches import batches
from actfocus_core.listing.cache import Cache, digest
from actfocus_core.listing.measures import SCHEMA, measures, versions
from actfocus_core.listing.query import Cancelled
from actfocus_core.listing.setting import Setting
from actfocus_core.runs import Run, stamp

_VERSION = 1
_STORED = SCHEMA.append(pa.field("stamp", pa.string()))
_SAVE_EVERY = 2_000_000
"""Tokens between two writes of the cache."""
OnProgress = Callable[[int, int], None]


class Values:
    """The computed columns of the rows of a run under two schemes and a reference."""

    def __init__(self, run: Run, a: Setting, b: Setting, reference: str | None, index: pa.Table, cache: Cache):
        """``index``: ``file_step``, ascending, ``group`` and ``tokens`` of all rows of the list."""
        self._run, self._a, self._b, self._reference, self._cache = run, a, b, reference, cache
        steps = index["file_step"].to_numpy()
        starts = np.flatnonzero(np.diff(steps, prepend=-1))
        self._rows = {
            int(steps[start]): index.slice(start, end - start) for start, end in zip(starts, [*starts[1:], len(steps)])
        }
        self._stamps = {step: _stamp(run, step) for step in self._rows}
        self._done: dict[int, pa.Table] = {}
        self._joined: tuple[int, pa.Table | None] = (-1, None)
        self._load()

    @property
    def complete(self) -> bool:
        return len(self._done) == len(self._rows)

    def table(self) -> pa.Table:
        """The columns of SCHEMA for all rows, null in steps that have not been computed."""
        done, joined = self._joined
        if done != len(self._done) or joined is None:
            done = len(self._done)
            parts = [self._done.get(step, _nothing(rows.num_rows)) for step, rows in self._rows.items()]
            joined = pa.concat_tables([SCHEMA.empty_table(), *(part.select(SCHEMA.names) for part in parts)])
            self._joined = done, joined.combine_chunks()
        return self._joined[1]

    def compute(self, on_progress: OnProgress | None, cancelled: Callable[[], bool] | None) -> None:
        """Compute the steps that are missing, and store them. ``on_progress(done, total)`` counts rollouts.

        Raises Cancelled; the steps before are kept.
        """
        total, unsaved = sum(rows.num_rows for rows in self._rows.values()), 0
        done = sum(table.num_rows for table in self._done.values())
        try:
            for step, rows in self._rows.items():
                if step in self._done:
                    continue

                def report(more: int, before: int = done) -> None:
                    if cancelled and cancelled():
                        raise Cancelled
                    if on_progress:
                        on_progress(before + more, total)

                report(0)
                self._done[step] = self._step(step, rows, report)
                done += rows.num_rows
                unsaved += pc.sum(rows["tokens"]).as_py() or 0
                if unsaved > _SAVE_EVERY:
                    self._save()
                    unsaved = 0
        finally:
            if unsaved:
                self._save()
        if on_progress:
            on_progress(total, total)

    def _step(self, step: int, rows: pa.Table, report: Callable[[int], None]) -> pa.Table:
        parts, order, newest = [], [], -1
        for batch in batches(self._run, step, self._reference, rows):
            newest = max([newest, *(number for _, number in map(versions, batch.trajectories) if number is not None)])
            table = measures(batch.trajectories, self._a, self._b)
            if not batch.whole:
                table = _without(table, ("action_share_a", "action_share_b", "change"))
            parts.append(table)
            order += batch.rows
            report(len(order))
        if _stamp(self._run, step) != self._stamps[step] or len(order) != rows.num_rows:
            raise ActFocusError(f"{self._run.path}: step {step} was changed while it was read; open the run again")
        table = pa.concat_tables(parts).take(pa.array(np.argsort(order)))
        place = SCHEMA.get_field_index("staleness")
        table = table.set_column(place, "staleness", pc.subtract(pa.scalar(newest), table["staleness"]))
        return table.append_column("stamp", pa.repeat(self._stamps[step], table.num_rows)).cast(_STORED)

    # --- cache ---------------------------------------------------------------------------

    @property
    def _key(self) -> str:
        return json.dumps([_VERSION, self._a.key, self._b.key, self._reference])

    @property
    def _name(self) -> str:
        return "values-" + digest(self._key)

    def _load(self) -> None:
        """Take the steps from the cache whose files have not changed."""
        stored = self._cache.read(self._name, self._key)
        if stored is None or stored.schema != _STORED:
            return
        marks = stored["stamp"].combine_chunks().dictionary_encode()
        codes = marks.indices.to_numpy()
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        slices = {
            marks.dictionary[int(codes[start])].as_py(): stored.slice(start, end - start)
            for start, end in zip(starts, [*starts[1:], len(codes)])
        }
        for step, rows in self._rows.items():
            found = slices.get(self._stamps[step])
            if found is not None and found.num_rows == rows.num_rows:
                self._done[step] = found

    def _save(self) -> None:
        table = pa.concat_tables(self._done[step] for step in sorted(self._done)).combine_chunks()
        self._cache.write(self._name, self._key, table.to_batches(), _STORED)


def _nothing(rows: int) -> pa.Table:
    return pa.table({field.name: pa.nulls(rows, field.type) for field in SCHEMA}, schema=SCHEMA)


def _without(table: pa.Table, names: tuple[str, ...]) -> pa.Table:
    """The table with null in some columns."""
    for name in names:
        table = table.set_column(table.column_names.index(name), name, pa.nulls(table.num_rows, pa.float64()))
    return table


def _stamp(run: Run, step: int) -> str:
    """A text that changes when a step is added to or scored again."""
    files = sorted(run.path.glob(f"*/step-{step:05d}.*parquet"))
    return digest(json.dumps([[f"{file.parent.name}/{file.name}", *stamp(file)] for file in files]))
