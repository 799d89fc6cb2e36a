"""Reading and writing of a run folder."""

from __future__ import annotations

import json
import os
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actfocus_core.errors import ActFocusError
from actfocus_core.files import check_no_link, open_to_append, open_to_read, sync
from actfocus_core.runs.index import Index, read_index, stamp
from actfocus_core.runs.info import FORMAT, SCHEMA, VERSION, RunInfo, read_info, versions, write_info
from actfocus_core.runs.metrics import is_row, whole_lines
from actfocus_core.runs.names import Part, slug, stored_annotations, stored_parts
from actfocus_core.runs.parquet import RowReader, open_parquet, read_table, write_table
from actfocus_core.runs.provenance import Provenance
from actfocus_core.runs.schema import ANNOTATIONS, METADATA_KEY, rewrite_command
from actfocus_core.runs.tables import annotate, annotation_table, facts_table, require_columns, to_trajectories
from actfocus_core.trajectory import Trajectory

if TYPE_CHECKING:
    import pandas as pd

_FOLDERS = ("trajectories", "signals", "whatif", "checkpoints", "evaluation", "policy", "tensorboard")
"""The subfolders of a run folder, which must not be links."""


class Run:
    """A run folder. ``Run.create`` creates one, ``Run.open`` opens an existing one."""

    def __init__(self, path: Path, info: dict[str, Any]):
        self.path = path
        self.info = info
        """The content of run.json; ``metadata`` is its typed view."""
        self._indexed: Index | None = None

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def metadata(self) -> RunInfo:
        """The typed metadata of the run: model, environment, scheme, and more.

        Computed from the current ``info``, which changes during an import. Raises ActFocusError for an entry of the wrong type.
        """
        return RunInfo.of(self.info, self.path / "run.json")

    @classmethod
    def create(
        cls,
        path: str | Path,
        config: dict[str, Any],
        model: dict[str, Any] | None = None,
        provenance: Provenance | None = None,
    ) -> Run:
        """Create a new run folder with its run.json, atomically.

        ``config``: the arguments needed to repeat the run (JSON); ``model``: name and fingerprint of the rollout policy;
        ``provenance``: which data are recorded, derived or guessed. Raises ActFocusError if the path exists or is not writable.
        """
        path = Path(path)
        if path.exists():
            raise ActFocusError(f"{path}: already exists; choose another name for the run")
        info = {
            "format": FORMAT,
            "version": VERSION,
            "schema": SCHEMA,
            "config": config,
            "model": model or {},
            **({"provenance": provenance.model_dump(exclude_none=True)} if provenance else {}),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
        }
        try:
            created = [folder for folder in path.parents if not folder.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as hidden:
                complete = Path(hidden) / path.name
                for folder in (complete, complete / "trajectories", complete / "signals"):
                    folder.mkdir()
                write_info(complete, info)
                complete.rename(path)
            for folder in (path.parent, *(folder.parent for folder in created)):
                sync(folder)
        except OSError as error:
            raise ActFocusError(f"{path}: cannot be written ({error.strerror})") from None
        return cls(path, info)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open an existing run folder. Raises ActFocusError if it is not one."""
        path = Path(path).resolve()
        file = path / "run.json"
        try:
            exists, is_run = path.exists(), file.is_file()
            check_no_link(*(path / name for name in _FOLDERS))
        except OSError as error:
            raise ActFocusError(
                f"{path}: cannot be read ({error.strerror}); change its permissions, or open a copy"
            ) from None
        if not exists:
            raise ActFocusError(f"{path}: no such run; `actfocus rollout --out {path}` creates one")
        if not is_run:
            raise ActFocusError(f"{path}: not a run folder, it has no run.json")
        return cls(path, read_info(file))

    def evaluation(self, name: str) -> Run | None:
        """A stored evaluation of this training run, itself a run; None if there is none with this name.

        Raises ActFocusError if it is invalid, or a link.
        """
        path = self.path / "evaluation" / name
        try:
            check_no_link(path.parent, path)
        except OSError as error:
            raise ActFocusError(f"{path}: cannot be read ({error.strerror})") from None
        return Run.open(path) if path.exists() else None

    # --- facts ---------------------------------------------------------------------------

    def steps(self) -> list[int]:
        """The steps with stored trajectories, ascending."""
        return sorted({part.step for part in stored_parts(self.path)})

    def parts(self, step: int | None = None) -> list[Part]:
        """The trajectory files of a step, or of all steps, in reading order."""
        return [part for part in stored_parts(self.path) if step is None or part.step == step]

    def add_trajectories(self, step: int, trajectories: list[Trajectory]) -> Path:
        """Write all trajectories of a step; the path of the file. See also ``add_part``.

        Raises ActFocusError if the step is stored already, since facts are never rewritten.
        """
        file = Part(step).facts(self.path)
        if self.parts(step):
            raise ActFocusError(f"{file}: step {step} is already written; facts are never rewritten")
        return self._write_facts(Part(step), trajectories, set())

    def add_part(self, step: int, trajectories: list[Trajectory]) -> Path:
        """Write trajectories as the next part of a step, leaving its existing files unchanged; the path of the new file.

        Only one process may add parts to a run at a time. Raises ActFocusError for an id that the step has already.
        """
        written = self.parts(step)
        number = max((part.number for part in written), default=-1) + 1
        return self._write_facts(Part(step, number), trajectories, {id for part in written for id in self.ids_of(part)})

    def _write_facts(self, part: Part, trajectories: list[Trajectory], taken: set[str]) -> Path:
        file = part.facts(self.path)
        for t in trajectories:
            if t.id in taken:
                raise ActFocusError(f"{file}: two trajectories have the id {t.id!r}; ids are unique in a run")
            taken.add(t.id)
        write_table(facts_table(trajectories), file)
        return file

    def ids_of(self, part: Part) -> list[str]:
        """The ids of a part, in the order of its rows."""
        file = part.facts(self.path)
        ids: list[str] = read_index(file, stamp(file))["id"].to_pylist()
        return ids

    def index(self) -> pd.DataFrame:
        """One row per trajectory, ordered by step, with scalars and counts but without tokens. Requires pandas.

        ``success`` is NA if unknown. The result is cached until a file is added or changed.
        """
        return self._index().frame.copy(deep=False)  # copy-on-write protects the cache from changes of the caller

    def _index(self) -> Index:
        """The index of the current files."""
        parts = self.parts()
        files = tuple((f, stamp(f)) for f in (part.facts(self.path) for part in parts))
        if self._indexed is None or self._indexed.files != files:
            self._indexed = Index(parts, files)
        return self._indexed

    def trajectories(self, step: int | None = None, reference: str | None = None) -> list[Trajectory]:
        """The trajectories of all steps or of one, with the signals of a reference model and all ANNOTATIONS.

        ``reference``: the reference model; None: the alphabetically first one of each step. Parts of a step that are not
        annotated are read without signals. Raises ActFocusError for a step, reference or file that is missing or invalid.
        """
        return [t for part, names in self._to_read(step, reference) for t in self._read_part(part, names)]

    def trajectory(self, id: str, reference: str | None = None) -> Trajectory:
        """One trajectory by its id; only its row group is read. Raises ActFocusError for an unknown id."""
        index = self._index()
        row = index.rows.get(id)
        if row is None:
            raise ActFocusError(f"{self.path}: no trajectory {id!r} in this run")
        place = bisect_right(index.starts, row) - 1
        part = index.parts[place]
        names = dict(self._to_read(part.step, reference))[part]
        return self._read_part(part, names, row - index.starts[place])[0]

    def _to_read(self, step: int | None, reference: str | None) -> list[tuple[Part, list[str]]]:
        """The files to read, each with the names of its annotations: the reference's of its step, and those of ANNOTATIONS."""
        stored: dict[Part, set[str]] = {}
        references: dict[int, set[str]] = {}
        for part, name in stored_annotations(self.path):
            stored.setdefault(part, set()).add(name)
            if name not in ANNOTATIONS:
                references.setdefault(part.step, set()).add(name)
        parts = self.parts(step)
        if step is not None and not parts:
            return [(Part(step), [])]  # reading it raises the error
        chosen = {
            part.step: self._chosen(part.step, sorted(references.get(part.step, ())), reference) for part in parts
        }
        return [(part, [name for name in chosen[part.step] if name in stored.get(part, ())]) for part in parts]

    def _chosen(self, step: int, references: list[str], reference: str | None) -> list[str]:
        """The annotations with which the trajectories of a step are read."""
        if reference is not None and slug(reference) not in references:
            raise ActFocusError(
                f"{self.path}: step {step} has no signals of {reference!r}; "
                f"it has {references or 'none'}; `actfocus score` adds them"
            )
        return [*(references[:1] if reference is None else [slug(reference)]), *sorted(ANNOTATIONS)]

    def _read_part(self, part: Part, names: list[str], row: int | None = None) -> list[Trajectory]:
        facts = part.facts(self.path)
        trajectories = to_trajectories(read_table(facts, row), facts)
        for name in names:
            file = part.annotation(self.path, name)
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
        """Iterate over ``trajectories`` with one row group in memory at a time.

        ``ids``: only these. ``on_error(id, error)`` is called for an invalid trajectory, which is then skipped; without it the
        error is raised.
        """
        for part, names in self._to_read(step, reference):
            facts = part.facts(self.path)
            files = {name: part.annotation(self.path, name) for name in names}
            notes = {name: RowReader(file) for name, file in files.items()}
            for table in RowReader(facts):
                require_columns(table.column_names, ["id"], facts)
                annotations = {name: rows.take(table.num_rows) for name, rows in notes.items()}
                for row, id in enumerate(table["id"].to_pylist()):
                    if ids is not None and id not in ids:
                        continue
                    try:
                        [trajectory] = to_trajectories(table.slice(row, 1), facts)
                        for name, annotation in annotations.items():
                            annotate([trajectory], annotation.slice(row, 1), files[name], name)
                    except ActFocusError as error:
                        if on_error is None:
                            raise
                        on_error(id, error)
                        continue
                    yield trajectory

    # --- annotations ---------------------------------------------------------------------

    def references(self, step: int | None = None) -> list[str]:
        """Names of the reference models with signals for a step or a part of it, or for any step."""
        return sorted(self._annotated(step) - ANNOTATIONS.keys())

    def annotations(self, step: int) -> list[str]:
        """The names of ANNOTATIONS stored for a step, or for a part of it."""
        return sorted(self._annotated(step) & ANNOTATIONS.keys())

    def _annotated(self, step: int | None) -> set[str]:
        return {name for part, name in stored_annotations(self.path) if step is None or part.step == step}

    def annotated_steps(self, name: str) -> set[int]:
        """The steps of which every part has this annotation."""
        annotated = {part for part, stored in stored_annotations(self.path) if stored == slug(name)}
        return {part.step for part in annotated} - {part.step for part in self.parts() if part not in annotated}

    def annotate(
        self, step: int, name: str, trajectories: list[Trajectory], metadata: dict[str, Any] | None = None
    ) -> Path:
        """Store an annotation of all trajectories of a step, in one file per part; the path of the last file.

        ``name``: one of ANNOTATIONS, or a reference model, of which ``ref_*`` signals and alternatives are stored.
        ``metadata``: how it was computed (JSON), see ``annotation_metadata``. An existing annotation is replaced; facts are
        unchanged. Parts without any of the trajectories, such as parts written in the meantime, are ignored. Raises
        ActFocusError if other trajectories are missing, or lack signals of the annotation.
        """
        by_id = {t.id: t for t in trajectories}
        ids_of = {part: self.ids_of(part) for part in self.parts(step) or [Part(step)]}
        covered = {part: ids for part, ids in ids_of.items() if not by_id.keys().isdisjoint(ids)}
        facts, required = Part(step).facts(self.path), [id for ids in covered.values() for id in ids]
        if not covered or by_id.keys() != set(required):
            count = len(required) if covered else sum(map(len, ids_of.values()))
            raise ActFocusError(
                f"{facts}: an annotation must cover all {count} trajectories of a step, "
                f"{len(by_id.keys() & set(required))} were given"
            )
        missing = next(
            (
                (t.id, signal)
                for t in trajectories
                for signal in ANNOTATIONS.get(slug(name), ())
                if signal not in t.signals
            ),
            None,
        )
        if missing:
            raise ActFocusError(
                f"{facts}: trajectory {missing[0]!r} has no {missing[1]}, which the annotation {slug(name)} requires"
            )
        stored = {METADATA_KEY: json.dumps(metadata or {})}
        for part, ids in covered.items():
            # In the order of the facts, so that row groups of both files hold the same trajectories.
            table = annotation_table([by_id[id] for id in ids], slug(name))
            file = part.annotation(self.path, name)
            write_table(table.replace_schema_metadata(stored), file)
        return file

    def check_writable(self) -> None:
        """Raise ActFocusError if annotations cannot be stored; called before long computations."""
        try:
            with tempfile.TemporaryFile(dir=self.path / "signals"):
                pass
        except OSError as error:
            raise ActFocusError(
                f"{self.path}: nothing can be stored with this run ({error.strerror}); copy the folder to a writable place, "
                "and open the copy"
            ) from None

    def annotation_metadata(self, step: int, name: str) -> dict[str, Any]:
        """How an annotation of a step was computed, as passed to ``annotate``.

        Raises ActFocusError if there is no such annotation, or its parts were computed in different ways.
        """
        parts = sorted(
            part for part, stored in stored_annotations(self.path) if part.step == step and stored == slug(name)
        )
        files = [part.annotation(self.path, name) for part in parts or [Part(step)]]
        first, *others = [read_metadata(file, name) for file in files]
        if any(other != first for other in others):
            raise ActFocusError(
                f"{files[0]}: other parts of the step were computed differently; {rewrite_command(name)} computes them again"
            )
        return first

    # --- metrics -------------------------------------------------------------------------

    def log(self, metrics: dict[str, Any]) -> None:
        """Append a row to metrics.jsonl, as one line in one write."""
        line = json.dumps(metrics, allow_nan=False) + "\n"
        with open_to_append(self.path / "metrics.jsonl") as file:
            file.write(line.encode())
            os.fsync(file.fileno())

    def metrics(self, offset: int = 0, limit: int | None = None) -> tuple[list[dict[str, Any]], int]:
        """The rows after a byte offset, at most ``limit``, and the offset for the next call.

        An incomplete last line is left for the next call. Raises ActFocusError for an invalid line.
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


def read_metadata(file: Path, name: str) -> dict[str, Any]:
    """How one file of an annotation was computed. Raises ActFocusError if the metadata are not valid JSON."""
    try:
        with open_parquet(file) as parquet:
            metadata = json.loads((parquet.schema_arrow.metadata or {}).get(METADATA_KEY, b"{}"))
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise ActFocusError(f"{file}: its metadata are not readable JSON; {rewrite_command(name)} computes it again")
    return metadata
