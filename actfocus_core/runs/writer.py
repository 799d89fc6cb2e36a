"""Incremental writing of trajectories, to a run or to one file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from actfocus_core.errors import ActFocusError
from actfocus_core.files import sync
from actfocus_core.runs.names import Part
from actfocus_core.runs.parquet import read_table
from actfocus_core.runs.run import Run
from actfocus_core.runs.schema import REFERENCE_PREFIX, ROWS_PER_GROUP
from actfocus_core.runs.tables import add_alternatives, annotation_table, facts_table, to_trajectories
from actfocus_core.trajectory import Trajectory

_OPEN_FILES = 100
"""Largest number of files held open."""
_WAITING_TOKENS = 1 << 21
"""Largest number of tokens held in memory."""


class RunWriter:
    """Writes the rollouts of a run as they finish, for other trainers whose run folders the studio follows.

    It depends only on numpy, pyarrow and pydantic. Trajectories may come in any order of steps; at most _WAITING_TOKENS tokens
    are held in memory, the rest is in hidden files. ``flush`` publishes everything added so far, as one more part of every
    step, complete and on disk, so a crash loses only what was added since. Without ``flush`` the file of each step is
    published undivided when the block ends. If the block raises, trajectories that were not flushed are discarded.

    ``ref_*`` signals and alternatives are stored as the annotation ``reference``. Only one process may write a run at a time.

        from actfocus_core.runs import Run, RunWriter
        from actfocus_core.trajectory import Trajectory, Turn

        run = Run.create("runs/mine", {"command": "my-trainer", "env": "sums", "model": "my/model-0.5b"})
        with RunWriter(run) as writer:
            for rollout, (answer, reward) in enumerate([("4", 1.0), ("5", 0.0)]):
                writer.add(
                    Trajectory(
                        id=f"sum-{rollout}",
                        group="sum",
                        rollout=rollout,
                        step=1,
                        token_ids=[11, 12, 13 + rollout, 2],
                        kinds=[1, 2, 4, 5],
                        turns=[0, 0, 0, 0],
                        logprobs=[float("nan"), float("nan"), -0.7, -0.1],
                        texts=["2 + 2 =", " ", answer, "<end>"],
                        turn_records=[Turn("2 + 2 =", answer, [answer], True, reward, 0.0, "", {})],
                        reward=reward,
                        success=reward > 0,
                        rewards={"right": (reward, 1.0)},
                        stop_reason="end of turn",
                    )
                )
            writer.flush()
            run.log({"step": 1, "reward/return": 0.5})

    docs/runs.md lists every column. Fields that a trainer does not know keep their defaults, which mean not recorded.
    """

    def __init__(self, run: Run, reference: str = "imported"):
        self.run, self.reference = run, reference
        self._waiting: dict[int, list[Trajectory]] = {}
        self._files: dict[int, _StepFiles] = {}
        self._in_parts: set[int] = {part.step for part in run.parts()}
        """steps that have published files, so further trajectories become a part"""
        self._ids: set[str] = set(run._index().rows) if self._in_parts else set()
        self._tokens = 0

    def add(self, trajectory: Trajectory) -> None:
        """Add a trajectory to the step ``trajectory.step``. Raises ActFocusError if the run has one with the same id."""
        if trajectory.id in self._ids:
            raise ActFocusError(f"two trajectories have the id {trajectory.id!r}; ids are unique in a run")
        self._ids.add(trajectory.id)
        waiting = self._waiting.setdefault(trajectory.step, [])
        waiting.append(trajectory)
        self._tokens += len(trajectory)
        if len(waiting) >= ROWS_PER_GROUP:
            self._store(trajectory.step)
        elif self._tokens > _WAITING_TOKENS:
            # Long trajectories, or many steps at once: write the step with the most trajectories in memory.
            self._store(max(self._waiting, key=lambda step: len(self._waiting[step])))

    def flush(self) -> None:
        """Publish everything added so far as the next part of its step. Raises ActFocusError where it cannot be written."""
        self._in_parts |= self._files.keys() | self._waiting.keys()
        self._finish()

    def _finish(self) -> None:
        for step in sorted(self._waiting):
            self._store(step)
        for step in sorted(self._files):
            part = Part(step)
            if step in self._in_parts:
                part = Part(step, max((part.number for part in self.run.parts(step)), default=-1) + 1)
            self._files.pop(step).publish(part)
            self._in_parts.add(step)

    def _store(self, step: int) -> None:
        """Move the trajectories of a step from memory to its hidden files."""
        trajectories = self._waiting.pop(step)
        self._tokens -= sum(map(len, trajectories))
        file = self._files.get(step)
        if file is None:
            file = self._files[step] = _StepFiles(self.run.path, step, self.reference)
        others = [f for f in self._files.values() if f.is_open and f is not file]
        if 2 * len(others) >= _OPEN_FILES:
            others[0].close()
        file.append(trajectories)

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            for file in self._files.values():
                file.discard()


class _StepFiles:
    """The hidden files of the trajectories of a step and of their annotation, until they are published."""

    def __init__(self, run: Path, step: int, reference: str):
        self.run, self.reference = run, reference
        name = f".{Part(step).stem}.{os.getpid()}-{id(self):x}.part"
        self._facts, self._notes = (
            _ParquetAppender(run / "trajectories" / name),
            _ParquetAppender(run / "signals" / name),
        )
        self._annotated = False

    @property
    def is_open(self) -> bool:
        return self._facts.writer is not None

    def append(self, trajectories: list[Trajectory]) -> None:
        self._annotated |= any(
            t.alternatives is not None or any(s.startswith(REFERENCE_PREFIX) for s in t.signals) for t in trajectories
        )
        facts, notes = facts_table(trajectories), annotation_table(trajectories, self.reference)
        with _writable(self.run):
            # Row groups of both files must hold the same trajectories, so the annotation is written even without signals.
            self._facts.append(facts)
            self._notes.append(notes)

    def publish(self, part: Part) -> None:
        """Publish the files durably. The annotation comes first, since it is ignored without its trajectories."""
        try:
            with _writable(self.run):
                self.close()
                if self._annotated:
                    self._notes.publish(part.annotation(self.run, self.reference))
                self._facts.publish(part.facts(self.run))
        finally:
            self.discard()

    def close(self) -> None:
        self._facts.close()
        self._notes.close()

    def discard(self) -> None:
        for file in (self._facts, self._notes):
            file.discard()


def write_trajectories(trajectories: Iterable[Trajectory], path: Path) -> None:
    """Stream trajectories with all their signals and alternatives to one Parquet file."""
    file = _ParquetAppender(path)
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
    """Read a file of ``write_trajectories``. Raises ActFocusError if it is not one."""
    table = read_table(path, None)
    trajectories = to_trajectories(table, path)
    add_alternatives(trajectories, table, range(len(trajectories)), path)
    return trajectories


class _ParquetAppender:
    """Appends tables to a Parquet file; later tables may have additional columns."""

    def __init__(self, path: Path):
        self.path = path
        self.writer: pq.ParquetWriter | None = None
        self.schema: pa.Schema | None = None

    def append(self, table: pa.Table) -> None:
        schema = table.schema if self.schema is None else pa.unify_schemas([self.schema, table.schema])
        if self.writer is None or schema != self.schema:
            self._begin(schema)
        self._write(table)

    def _begin(self, schema: pa.Schema) -> None:
        """Open the file with these columns; existing rows are copied by row group."""
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
        assert self.schema is not None and self.writer is not None  # opened by _begin
        columns = [
            table[f.name] if f.name in table.column_names else pa.nulls(table.num_rows, f.type) for f in self.schema
        ]
        self.writer.write_table(pa.table(columns, schema=self.schema), row_group_size=ROWS_PER_GROUP)

    def close(self) -> None:
        if self.writer:
            self.writer.close()
            self.writer = None

    def publish(self, path: Path) -> None:
        """Flush the file to disk and rename it to ``path``."""
        sync(self.path)
        self.path.rename(path)
        sync(path.parent)

    def discard(self) -> None:
        with suppress(OSError):
            self.close()
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".before").unlink(missing_ok=True)


@contextmanager
def _writable(run: Path) -> Iterator[None]:
    """Convert OSError to ActFocusError."""
    try:
        yield
    except OSError as error:
        raise ActFocusError(f"{run}: cannot be written ({error.strerror or error})") from None
