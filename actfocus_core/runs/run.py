"""A run folder that is read, and written step by step."""

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
from actfocus_core.runs.names import Part, annotations_of, facts_of, slug
from actfocus_core.runs.parquet import Rows, open_parquet, read_table, write_table
from actfocus_core.runs.provenance import Provenance
from actfocus_core.runs.schema import ANNOTATIONS, HOW_MADE, how_to_write_again
from actfocus_core.runs.tables import annotate, annotation_table, facts_table, require_columns, to_trajectories
from actfocus_core.trajectory import Trajectory

if TYPE_CHECKING:
    import pandas as pd

_FOLDERS = ("trajectories", "signals", "whatif", "checkpoints", "evaluation", "policy", "tensorboard")
"""What lies in a run folder and is never a link."""


class Run:
    """A run folder. Make one with ``Run.create``, read one with ``Run.open``."""

    def __init__(self, path: Path, info: dict[str, Any]):
        self.path = path
        self.info = info
        """The content of run.json, as it is written; ``metadata`` reads it."""
        self._indexed: Index | None = None

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
    def create(
        cls,
        path: str | Path,
        config: dict[str, Any],
        model: dict[str, Any] | None = None,
        provenance: Provenance | None = None,
    ) -> Run:
        """Make a new run folder; it appears with its run.json or not at all.

        ``config`` is what repeats the run (JSON); ``model`` describes the rollout policy
        (name, fingerprint); ``provenance``: what of the rollouts is recorded, derived or guessed.
        Raises ActFocusError where the path is taken or not writable.
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
            check_no_link(*(path / name for name in _FOLDERS))
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
            check_no_link(path.parent, path)
        except OSError as error:
            raise ActFocusError(f"{path}: cannot be read ({error.strerror})") from None
        return Run.open(path) if path.exists() else None

    # --- facts ---------------------------------------------------------------------------

    def steps(self) -> list[int]:
        """The steps that have trajectories, ascending."""
        return sorted({part.step for part in facts_of(self.path)})

    def parts(self, step: int | None = None) -> list[Part]:
        """The files of trajectories of a step, or of all steps, in the order in which they are read."""
        return [part for part in facts_of(self.path) if step is None or part.step == step]

    def add_trajectories(self, step: int, trajectories: list[Trajectory]) -> Path:
        """Write all trajectories of one step. Facts are never rewritten: once a step. See also ``add_part``."""
        file = Part(step).facts(self.path)
        if self.parts(step):
            raise ActFocusError(f"{file}: step {step} is already written; facts are never rewritten")
        return self._write_facts(Part(step), trajectories, set())

    def add_part(self, step: int, trajectories: list[Trajectory]) -> Path:
        """Write some trajectories of a step as its next part; what is there of the step stays as it is.

        One process at a time adds parts to a run. Raises ActFocusError for an id that the step has already.
        """
        written = self.parts(step)
        number = max((part.number for part in written), default=-1) + 1
        return self._write_facts(Part(step, number), trajectories, {id for part in written for id in self._ids(part)})

    def _write_facts(self, part: Part, trajectories: list[Trajectory], taken: set[str]) -> Path:
        file = part.facts(self.path)
        for t in trajectories:
            if t.id in taken:
                raise ActFocusError(f"{file}: two trajectories have the id {t.id!r}; ids are unique in a run")
            taken.add(t.id)
        write_table(facts_table(trajectories), file)
        return file

    def _ids(self, part: Part) -> list[str]:
        file = part.facts(self.path)
        ids: list[str] = read_index(file, stamp(file))["id"].to_pylist()
        return ids

    def index(self) -> pd.DataFrame:
        """One row a trajectory, ordered by step: scalars and counts, no token is read. Needs pandas.

        ``success`` is NA where it is not known. Kept until a file is added or changed, so asking again costs nothing.
        """
        return self._index().frame.copy(deep=False)  # copy-on-write: what the caller changes stays there

    def _index(self) -> Index:
        """Scalars and counts of all trajectories, of the files as they are now."""
        parts = self.parts()
        files = tuple((f, stamp(f)) for f in (part.facts(self.path) for part in parts))
        if self._indexed is None or self._indexed.files != files:
            self._indexed = Index(parts, files)
        return self._indexed

    def trajectories(self, step: int | None = None, reference: str | None = None) -> list[Trajectory]:
        """All trajectories, or those of one step, with a reference model's signals and all ANNOTATIONS.

        ``reference``: whose signals to add; None takes the only or alphabetically first one of each step. A part of a step
        that was not annotated yet is read without. Raises ActFocusError for a step, a reference or a file that is not
        there or broken.
        """
        return [t for part, names in self._to_read(step, reference) for t in self._read_part(part, names)]

    def trajectory(self, id: str, reference: str | None = None) -> Trajectory:
        """One trajectory by its id; reads only the row group that holds it."""
        index = self._index()
        row = index.rows.get(id)
        if row is None:
            raise ActFocusError(f"{self.path}: no trajectory {id!r} in this run")
        place = bisect_right(index.starts, row) - 1
        part = index.parts[place]
        names = dict(self._to_read(part.step, reference))[part]
        return self._read_part(part, names, row - index.starts[place])[0]

    def _to_read(self, step: int | None, reference: str | None) -> list[tuple[Part, list[str]]]:
        """The files to read, each with its annotations: of every step the reference's, and those of ANNOTATIONS."""
        found: dict[Part, set[str]] = {}
        references: dict[int, set[str]] = {}
        for part, name in annotations_of(self.path):
            found.setdefault(part, set()).add(name)
            if name not in ANNOTATIONS:
                references.setdefault(part.step, set()).add(name)
        parts = self.parts(step)
        if step is not None and not parts:
            return [(Part(step), [])]  # reading it says that it is not there
        chosen = {
            part.step: self._chosen(part.step, sorted(references.get(part.step, ())), reference) for part in parts
        }
        return [(part, [name for name in chosen[part.step] if name in found.get(part, ())]) for part in parts]

    def _chosen(self, step: int, references: list[str], reference: str | None) -> list[str]:
        """The annotations that trajectories of a step are read with."""
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
        """What ``trajectories`` gives, with one row group in memory at a time.

        ``ids``: only these. ``on_error(id, error)`` is told of a trajectory that is malformed,
        which is then left out; without it the error is raised.
        """
        for part, names in self._to_read(step, reference):
            facts = part.facts(self.path)
            files = {name: part.annotation(self.path, name) for name in names}
            notes = {name: Rows(file) for name, file in files.items()}
            for table in Rows(facts):
                require_columns(table.column_names, ["id"], facts)
                taken = {name: rows.take(table.num_rows) for name, rows in notes.items()}
                for row, id in enumerate(table["id"].to_pylist()):
                    if ids is not None and id not in ids:
                        continue
                    try:
                        one = to_trajectories(table.slice(row, 1), facts)
                        for name, of_group in taken.items():
                            annotate(one, of_group.slice(row, 1), files[name], name)
                    except ActFocusError as error:
                        if on_error is None:
                            raise
                        on_error(id, error)
                        continue
                    yield one[0]

    # --- annotations ---------------------------------------------------------------------

    def references(self, step: int | None = None) -> list[str]:
        """Names of the reference models that annotated this step, or a part of it (or any step)."""
        return sorted(self._annotated(step) - ANNOTATIONS.keys())

    def annotations(self, step: int) -> list[str]:
        """Which of ANNOTATIONS this step has, or a part of it."""
        return sorted(self._annotated(step) & ANNOTATIONS.keys())

    def _annotated(self, step: int | None) -> set[str]:
        return {name for part, name in annotations_of(self.path) if step is None or part.step == step}

    def annotated_steps(self, name: str) -> set[int]:
        """The steps with this annotation, of every part where there are several."""
        has = {part for part, given in annotations_of(self.path) if given == slug(name)}
        return {part.step for part in has} - {part.step for part in self.parts() if part not in has}

    def annotate(
        self, step: int, name: str, trajectories: list[Trajectory], made: dict[str, Any] | None = None
    ) -> Path:
        """Store what an annotation holds of a step's trajectories, all of them, with one file a part; gives the last one.

        ``name``: one of ANNOTATIONS, or a reference model, of which ``ref_*`` signals and
        alternatives are stored. ``made``: how it was made (JSON), see ``made``. Annotating again
        replaces the annotation; facts stay. A part none of whose trajectories is given, such as one that was written
        since they were read, stays as it is. Raises ActFocusError where another trajectory is left out or
        lacks what the annotation holds.
        """
        by_id = {t.id: t for t in trajectories}
        known = {part: self._ids(part) for part in self.parts(step) or [Part(step)]}
        given = {part: ids for part, ids in known.items() if not by_id.keys().isdisjoint(ids)}
        facts, of_given = Part(step).facts(self.path), [id for ids in given.values() for id in ids]
        if not given or by_id.keys() != set(of_given):
            count = len(of_given) if given else sum(map(len, known.values()))
            raise ActFocusError(
                f"{facts}: an annotation covers all {count} trajectories of a "
                f"step, {len(by_id.keys() & set(of_given))} were given"
            )
        lacking = next(
            (
                (t.id, signal)
                for t in trajectories
                for signal in ANNOTATIONS.get(slug(name), ())
                if signal not in t.signals
            ),
            None,
        )
        if lacking:
            raise ActFocusError(f"{facts}: trajectory {lacking[0]!r} has no {lacking[1]}, which {slug(name)} holds")
        metadata = {HOW_MADE: json.dumps(made or {})}
        for part, ids in given.items():
            # In the order of the facts, so that one row group holds the same trajectories in both.
            table = annotation_table([by_id[id] for id in ids], slug(name))
            file = part.annotation(self.path, name)
            write_table(table.replace_schema_metadata(metadata), file)
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
        """How an annotation of this step was made, as ``annotate`` was told.

        Raises ActFocusError where there is none, or its parts were made in different ways.
        """
        has = sorted(part for part, given in annotations_of(self.path) if part.step == step and given == slug(name))
        files = [part.annotation(self.path, name) for part in has or [Part(step)]]
        found = [how_made(file, name) for file in files]
        if any(made != found[0] for made in found):
            raise ActFocusError(
                f"{files[0]}: other parts of the step were made in another way; {how_to_write_again(name)} writes them again"
            )
        return found[0]

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


def how_made(file: Path, name: str) -> dict[str, Any]:
    """How one file of an annotation was made. Raises ActFocusError where it does not say so in JSON."""
    try:
        with open_parquet(file) as parquet:
            found = json.loads((parquet.schema_arrow.metadata or {}).get(HOW_MADE, b"{}"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ActFocusError(f"{file}: how it was made is not readable JSON; {how_to_write_again(name)} writes it again")
    return found
