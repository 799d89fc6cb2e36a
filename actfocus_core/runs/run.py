"""A run folder that is read, and written step by step."""

from __future__ import annotations

import json
import os
import re
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from actfocus_core.errors import ActFocusError
from actfocus_core.files import demand_no_link, open_to_append, open_to_read, sync
from actfocus_core.runs.index import SCHEMA, Stamp, read_index, stamp
from actfocus_core.runs.info import FORMAT, VERSION, RunInfo, read_info, versions, write_info
from actfocus_core.runs.metrics import is_row, whole_lines
from actfocus_core.runs.parquet import Rows, open_parquet, read_table, write_table
from actfocus_core.runs.schema import ANNOTATIONS, PROVENANCE, how_to_write_again
from actfocus_core.runs.tables import annotate, annotation_table, facts_table, require_columns, to_trajectories
from actfocus_core.trajectory import Trajectory

if TYPE_CHECKING:
    import pandas as pd

_FOLDERS = ("trajectories", "signals", "whatif", "checkpoints", "evaluation", "policy", "tensorboard")
"""What lies in a run folder and is never a link."""


_FILE = re.compile(r"step-(\d{5,})(?:\.(.+))?\.parquet$")


class _Index:
    """The scalars and counts of all trajectories of some files."""

    def __init__(self, files: tuple[tuple[Path, Stamp], ...]):
        self.files = files
        tables = [read_index(*file) for file in files]
        self.table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
        self.starts = [0, *np.cumsum([table.num_rows for table in tables]).tolist()]
        """at which row each file begins"""

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of every trajectory, by its id."""
        return {id: row for row, id in enumerate(self.table["id"].to_pylist())}


class Run:
    """A run folder. Make one with ``Run.create``, read one with ``Run.open``."""

    def __init__(self, path: Path, info: dict[str, Any]):
        self.path = path
        self.info = info
        """The content of run.json, as it is written; ``metadata`` reads it."""
        self._indexed: _Index | None = None
        self._frame: tuple[_Index, pd.DataFrame] | None = None

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def metadata(self) -> RunInfo:
        """What made the run, typed: model, environment, scheme, whether its weights move.

        Of ``info`` as it is now, which changes while a run is imported. Raises ActFocusError for an entry of the wrong type.
        """
        return RunInfo.of(self.info, self.path / "run.json")

    @classmethod
    def create(cls, path: str | Path, config: dict[str, Any], model: dict[str, Any] | None = None) -> Run:
        """Make a new run folder; it appears with its run.json or not at all.

        ``config`` is what repeats the run (JSON); ``model`` describes the rollout policy
        (name, fingerprint). Raises ActFocusError where the path is taken or not writable.
        """
        path = Path(path)
        if path.exists():
            raise ActFocusError(f"{path}: already exists; choose another name for the run")
        info = {
            "format": FORMAT,
            "version": VERSION,
            "config": config,
            "model": model or {},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
        }
        try:
            made = [folder for folder in path.parents if not folder.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as hidden:
                whole = Path(hidden) / path.name
                for folder in (whole, whole / "trajectories", whole / "signals"):
                    folder.mkdir()
                write_info(whole, info)
                whole.rename(path)
            for folder in (path.parent, *(folder.parent for folder in made)):
                sync(folder)
        except OSError as error:
            raise ActFocusError(f"{path}: cannot be written ({error.strerror})") from None
        return cls(path, info)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open an existing run folder. Raises ActFocusError where it is not one."""
        path = Path(path).resolve()
        file = path / "run.json"
        try:
            there, is_run = path.exists(), file.is_file()
            demand_no_link(*(path / name for name in _FOLDERS))
        except OSError as error:
            raise ActFocusError(f"{path}: cannot be read ({error.strerror}); allow it, or open a copy") from None
        if not there:
            raise ActFocusError(f"{path}: no such run; `actfocus rollout --out {path}` makes one")
        if not is_run:
            raise ActFocusError(f"{path}: not a run folder, it has no run.json")
        return cls(path, read_info(file))

    def evaluation(self, name: str) -> Run | None:
        """An evaluation that was stored while this run trained, itself a run; None where there is none of this name.

        Raises ActFocusError where it is broken, or a link to a run elsewhere.
        """
        path = self.path / "evaluation" / name
        try:
            demand_no_link(path.parent, path)
        except OSError as error:
            raise ActFocusError(f"{path}: cannot be read ({error.strerror})") from None
        return Run.open(path) if path.exists() else None

    # --- facts ---------------------------------------------------------------------------

    def steps(self) -> list[int]:
        """The steps that have trajectories, ascending."""
        return sorted(
            int(m[1]) for f in (self.path / "trajectories").glob("step-*.parquet") if (m := _FILE.search(f.name))
        )

    def add_trajectories(self, step: int, trajectories: list[Trajectory]) -> Path:
        """Write the trajectories of one step. Facts are never rewritten: once a step."""
        file = self._facts(step)
        if file.exists():
            raise ActFocusError(f"{file}: step {step} is already written; facts are never rewritten")
        ids = [t.id for t in trajectories]
        if len(set(ids)) != len(ids):
            double = next(i for i in ids if ids.count(i) > 1)
            raise ActFocusError(f"{file}: two trajectories have the id {double!r}; ids are unique in a run")
        write_table(facts_table(trajectories), file)
        return file

    def index(self) -> pd.DataFrame:
        """One row a trajectory, ordered by step: scalars and counts, no token is read. Needs pandas.

        Kept until a file is added or changed, so asking again costs nothing.
        """
        index = self._index()
        if self._frame is None or self._frame[0] is not index:
            frame = index.table.to_pandas()
            frame["return"] = frame["reward"] + frame["penalty"]
            self._frame = (index, frame)
        return self._frame[1].copy(deep=False)  # copy-on-write: what the caller changes stays there

    def _index(self) -> _Index:
        """Scalars and counts of all trajectories, of the files as they are now."""
        files = tuple((f, stamp(f)) for f in map(self._facts, self.steps()))
        if self._indexed is None or self._indexed.files != files:
            self._indexed = _Index(files)
        return self._indexed

    def trajectories(self, step: int | None = None, reference: str | None = None) -> list[Trajectory]:
        """All trajectories, or those of one step, with a reference model's signals and all ANNOTATIONS.

        ``reference``: whose signals to add; None takes the only or alphabetically first
        one. Raises ActFocusError for a step, a reference or a file that is not there or broken.
        """
        steps = self.steps() if step is None else [step]
        return [t for s in steps for t in self._read_step(s, reference)]

    def trajectory(self, id: str, reference: str | None = None) -> Trajectory:
        """One trajectory by its id; reads only the row group that holds it."""
        index = self._index()
        row = index.rows.get(id)
        if row is None:
            raise ActFocusError(f"{self.path}: no trajectory {id!r} in this run")
        place = bisect_right(index.starts, row) - 1
        return self._read_step(self.steps()[place], reference, row=row - index.starts[place])[0]

    def _read_step(self, step: int, reference: str | None, row: int | None = None) -> list[Trajectory]:
        table = read_table(self._facts(step), row)
        trajectories = to_trajectories(table, self._facts(step))
        for name in self._chosen(step, reference):
            file = self._annotation(step, name)
            annotate(trajectories, read_table(file, row), file, name)
        return trajectories

    def stream(
        self,
        step: int | None = None,
        reference: str | None = None,
        *,
        ids: Collection[str] | None = None,
        on_error: Callable[[str, ActFocusError], None] | None = None,
    ) -> Iterator[Trajectory]:
        """What ``trajectories`` gives, with one row group in memory at a time.

        ``ids``: only these. ``on_error(id, error)`` is told of a trajectory that is malformed,
        which is then left out; without it the error is raised.
        """
        for s in self.steps() if step is None else [step]:
            facts = self._facts(s)
            files = {name: self._annotation(s, name) for name in self._chosen(s, reference)}
            notes = {name: Rows(file) for name, file in files.items()}
            for table in Rows(facts):
                require_columns(table.column_names, ["id"], facts)
                parts = {name: rows.take(table.num_rows) for name, rows in notes.items()}
                for row, id in enumerate(table["id"].to_pylist()):
                    if ids is not None and id not in ids:
                        continue
                    try:
                        one = to_trajectories(table.slice(row, 1), facts)
                        for name, part in parts.items():
                            annotate(one, part.slice(row, 1), files[name], name)
                    except ActFocusError as error:
                        if on_error is None:
                            raise
                        on_error(id, error)
                        continue
                    yield one[0]

    def _facts(self, step: int) -> Path:
        return self.path / "trajectories" / f"step-{step:05d}.parquet"

    # --- annotations ---------------------------------------------------------------------

    def references(self, step: int | None = None) -> list[str]:
        """Names of the reference models that annotated this step (or any step)."""
        return sorted(self._annotated(step) - ANNOTATIONS.keys())

    def annotations(self, step: int) -> list[str]:
        """Which of ANNOTATIONS this step has."""
        return sorted(self._annotated(step) & ANNOTATIONS.keys())

    def annotate(
        self, step: int, name: str, trajectories: list[Trajectory], made: dict[str, Any] | None = None
    ) -> Path:
        """Store what an annotation holds of a step's trajectories, all of them.

        ``name``: one of ANNOTATIONS, or a reference model, of which ``ref_*`` signals and
        alternatives are stored. ``made``: how it was made (JSON), see ``made``. Annotating again
        replaces the annotation; facts stay. Raises ActFocusError where a trajectory is left out or
        lacks what the annotation holds.
        """
        facts, name = self._facts(step), slug(name)
        known = read_index(facts, stamp(facts))["id"].to_pylist()
        by_id = {t.id: t for t in trajectories}
        if set(by_id) != set(known):
            raise ActFocusError(
                f"{facts}: an annotation covers all {len(known)} trajectories of a "
                f"step, {len(set(by_id) & set(known))} were given"
            )
        lacking = next(
            ((t.id, signal) for t in trajectories for signal in ANNOTATIONS.get(name, ()) if signal not in t.signals),
            None,
        )
        if lacking:
            raise ActFocusError(f"{facts}: trajectory {lacking[0]!r} has no {lacking[1]}, which {name} holds")
        # In the order of the facts, so that one row group holds the same trajectories in both.
        file = self._annotation(step, name)
        table = annotation_table([by_id[i] for i in known], name)
        write_table(table.replace_schema_metadata({PROVENANCE: json.dumps(made or {})}), file)
        return file

    def demand_writable(self) -> None:
        """Raises ActFocusError where nothing can be stored: asked before long work, not after it."""
        try:
            with tempfile.TemporaryFile(dir=self.path / "signals"):
                pass
        except OSError as error:
            raise ActFocusError(
                f"{self.path}: nothing can be stored with this run ({error.strerror}); copy the folder to where "
                "it can be written, and open the copy"
            ) from None

    def made(self, step: int, name: str) -> dict[str, Any]:
        """How an annotation of this step was made, as ``annotate`` was told."""
        file = self._annotation(step, name)
        try:
            with open_parquet(file) as parquet:
                found = json.loads((parquet.schema_arrow.metadata or {}).get(PROVENANCE, b"{}"))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ActFocusError(
                f"{file}: how it was made is not readable JSON; {how_to_write_again(name)} writes it again"
            )
        return found

    def _annotated(self, step: int | None) -> set[str]:
        return {
            m[2]
            for f in (self.path / "signals").glob("step-*.parquet")
            if (m := _FILE.search(f.name)) and m[2] and (step is None or int(m[1]) == step)
        }

    def _annotation(self, step: int, name: str) -> Path:
        return self.path / "signals" / f"step-{step:05d}.{slug(name)}.parquet"

    def _chosen(self, step: int, reference: str | None) -> list[str]:
        """The annotations that trajectories of a step are read with."""
        names = self.references(step)
        if reference is not None and slug(reference) not in names:
            raise ActFocusError(
                f"{self.path}: step {step} has no signals of {reference!r}; "
                f"it has {names or 'none'}; `actfocus score` adds them"
            )
        return [*(names[:1] if reference is None else [slug(reference)]), *self.annotations(step)]

    # --- metrics -------------------------------------------------------------------------

    def log(self, metrics: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl, in one write."""
        line = json.dumps(metrics, allow_nan=False) + "\n"
        with open_to_append(self.path / "metrics.jsonl") as file:
            file.write(line.encode())
            os.fsync(file.fileno())

    def metrics(self, offset: int = 0, limit: int | None = None) -> tuple[list[dict[str, Any]], int]:
        """Rows written since a byte offset, at most ``limit``, and the offset to go on from.

        A last line still being written is left for the next call.
        """
        file = self.path / "metrics.jsonl"
        try:
            with open_to_read(file) as stream:
                stream.seek(offset)
                lines = whole_lines(stream, limit)
        except FileNotFoundError:
            return [], offset
        except OSError as error:
            raise ActFocusError(f"{file}: cannot be read ({error.strerror})") from None
        try:
            rows = [json.loads(line) for line in lines if line.strip()]
        except (ValueError, RecursionError) as error:
            raise ActFocusError(f"{file}: a line after byte {offset} is not JSON ({error})") from None
        if not all(map(is_row, rows)):
            raise ActFocusError(
                f'{file}: a line after byte {offset} is not {{"step": whole number, "name": number, ...}}'
            )
        return rows, offset + sum(map(len, lines))


def slug(name: str) -> str:
    """A model's name as part of a file name: letters, digits, dot, dash, underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "model"
