"""Writing trajectories in pieces: a whole run, or one file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from actfocus_core.errors import ActFocusError
from actfocus_core.runs.parquet import read_table
from actfocus_core.runs.run import Run
from actfocus_core.runs.schema import REFERENCE_PREFIX, ROWS_PER_GROUP
from actfocus_core.runs.tables import add_alternatives, annotation_table, facts_table, to_trajectories
from actfocus_core.trajectory import Trajectory

_OPEN_FILES = 100


_WAITING_TOKENS = 1 << 21


class RunWriter:
    """Writes a run in pieces, in any order of steps, holding at most _WAITING_TOKENS in memory.

    For a run that is hidden until it is whole (``appearing_run``). ``ref_*`` signals and
    alternatives become the annotation ``reference``. Use as a context manager.
    """

    def __init__(self, run: Run, reference: str = "imported"):
        self.run, self.reference = run, reference
        self._waiting: dict[int, list[Trajectory]] = {}
        self._files: dict[Path, _GrowingFile] = {}
        self._ids: set[str] = set()
        self._annotated: set[int] = set()
        self._tokens = 0

    def add(self, trajectory: Trajectory) -> None:
        """Raises ActFocusError where a trajectory of this id was added before."""
        if trajectory.id in self._ids:
            raise ActFocusError(f"two trajectories have the id {trajectory.id!r}; ids are unique in a run")
        self._ids.add(trajectory.id)
        waiting = self._waiting.setdefault(trajectory.step, [])
        waiting.append(trajectory)
        self._tokens += len(trajectory)
        if len(waiting) >= ROWS_PER_GROUP:
            self._flush(trajectory.step)
        elif self._tokens > _WAITING_TOKENS:
            # Long ones, or many steps at once: the step that most wait for is written.
            self._flush(max(self._waiting, key=lambda step: len(self._waiting[step])))

    def _flush(self, step: int) -> None:
        trajectories = self._waiting.pop(step)
        self._tokens -= sum(map(len, trajectories))
        self._file(self.run._facts(step)).append(facts_table(trajectories))
        if any(
            t.alternatives is not None or any(s.startswith(REFERENCE_PREFIX) for s in t.signals) for t in trajectories
        ):
            self._annotated.add(step)
        # Row groups of facts and annotation hold the same trajectories: all are written, or none.
        self._file(self.run._annotation(step, self.reference)).append(annotation_table(trajectories, self.reference))

    def _file(self, path: Path) -> _GrowingFile:
        file = self._files.setdefault(path, _GrowingFile(path))
        is_open = [f for f in self._files.values() if f.writer and f is not file]
        if len(is_open) >= _OPEN_FILES:
            is_open[0].close()
        return file

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for step in list(self._waiting) if kind is None else []:
                self._flush(step)
        finally:
            for file in self._files.values():
                file.close()
        for step in set(self.run.steps()) - self._annotated:
            self.run._annotation(step, self.reference).unlink(missing_ok=True)


def write_trajectories(trajectories: Iterable[Trajectory], path: Path) -> None:
    """Write trajectories with all their signals and alternatives to one Parquet file, streamed."""
    file = _GrowingFile(path)
    chunk: list[Trajectory] = []

    def flush() -> None:
        facts, notes = facts_table(chunk), annotation_table(chunk, "")
        for name in notes.column_names[1:]:
            facts = facts.append_column(name, notes[name])
        file.append(facts)

    try:
        for trajectory in trajectories:
            chunk.append(trajectory)
            if len(chunk) == ROWS_PER_GROUP:
                flush()
                chunk = []
        if chunk:
            flush()
    finally:
        file.close()


def read_trajectories(path: Path) -> list[Trajectory]:
    """What ``write_trajectories`` wrote. Raises ActFocusError for a file that is not of that kind."""
    table = read_table(path, None)
    trajectories = to_trajectories(table, path)
    add_alternatives(trajectories, table, range(len(trajectories)), path)
    return trajectories


class _GrowingFile:
    """A Parquet file that takes tables one by one, also with columns that came later."""

    def __init__(self, path: Path):
        self.path = path
        self.writer: pq.ParquetWriter | None = None
        self.schema: pa.Schema | None = None

    def append(self, table: pa.Table) -> None:
        wanted = table.schema if self.schema is None else pa.unify_schemas([self.schema, table.schema])
        if self.writer is None or wanted != self.schema:
            self._begin(wanted)
        self._write(table)

    def _begin(self, schema: pa.Schema) -> None:
        """Open the file with these columns; what is in it already is copied, group by group."""
        self.close()
        before = self.path.with_suffix(".before")
        if self.schema is not None:
            self.path.rename(before)
        self.schema = schema
        self.writer = pq.ParquetWriter(self.path, schema, compression="zstd")
        if before.exists():
            with pq.ParquetFile(before) as old:
                for group in range(old.num_row_groups):
                    self._write(old.read_row_group(group))
            before.unlink()

    def _write(self, table: pa.Table) -> None:
        assert self.schema is not None and self.writer is not None  # _begin has opened the file
        columns = [
            table[f.name] if f.name in table.column_names else pa.nulls(table.num_rows, f.type) for f in self.schema
        ]
        self.writer.write_table(pa.table(columns, schema=self.schema), row_group_size=ROWS_PER_GROUP)

    def close(self) -> None:
        if self.writer:
            self.writer.close()
            self.writer = None
