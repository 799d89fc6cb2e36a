"""The run folder: the one interface between making trajectories and looking at them.

    NAME/
      run.json                              config, versions, model: written once
      metrics.jsonl                         one line a step, append-only
      trajectories/step-00012.parquet       facts, never rewritten
      signals/step-00012.REFERENCE.parquet  a reference model's signals, keyed by trajectory id
      signals/step-00012.NAME.parquet       the values of ANNOTATIONS, keyed the same way
      whatif/KIND-ID.json, .parquet         replays, branches, edits (counterfactual/store.py)

Every file appears by rename and is whole when it is seen; ``metrics.jsonl`` grows by
whole lines. So a run can be read while it is written, and years later.
"""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import platform
import re
import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import NoneType, TracebackType
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import actfocus_core
from actfocus_core.errors import ActFocusError
from actfocus_core.files import LINE_MAX, demand_no_link, open_to_append, open_to_read, read_json, sync
from actfocus_core.paths import appearing
from actfocus_core.trajectory import Alternatives, TokenKind, Trajectory, Turn

FORMAT = "actfocus-run"
VERSION = 1
TRAINED = ("train", "trl", "verl")
"""``command`` in run.json's config where the weights move from step to step."""
ROWS_PER_GROUP = 64
"""Trajectories a Parquet row group: what is read to show one of them."""
_OPEN_FILES = 100
_WAITING_TOKENS = 1 << 21

_SCALARS = {
    "id": pa.string(),
    "group": pa.string(),
    "env": pa.string(),
    "seed": pa.int64(),
    "rollout": pa.int32(),
    "step": pa.int32(),
    "model": pa.string(),
    "reward": pa.float64(),
    "penalty": pa.float64(),
    "success": pa.bool_(),
    "terminated": pa.bool_(),
    "truncated": pa.bool_(),
}
_COUNTS = {
    "n_turns": pa.int32(),
    "n_valid": pa.int32(),
    "n_tokens": pa.int32(),
    "n_reasoning": pa.int32(),
    "n_action": pa.int32(),
    "n_format": pa.int32(),
}
_TURN = pa.struct(
    [
        ("observation", pa.string()),
        ("response", pa.string()),
        ("actions", pa.list_(pa.string())),
        ("valid", pa.bool_()),
        ("reward", pa.float64()),
        ("penalty", pa.float64()),
        ("state_key", pa.string()),
        ("state", pa.string()),
    ]
)
_COLUMNS = {
    "token_ids": pa.list_(pa.int32()),
    "kinds": pa.list_(pa.uint8()),
    "turns": pa.list_(pa.int16()),
    "logprobs": pa.list_(pa.float32()),
    "texts": pa.list_(pa.string()),
    "turn_records": pa.list_(_TURN),
}
_OPTIONAL = {"columns": pa.string(), "rollout_id": pa.string()}
"""There where a trajectory has them: its columns as JSON, null for none; null for a rollout of its own."""
_ALTERNATIVES = {
    "top_ids": pa.list_(pa.int32()),
    "top_logprobs": pa.list_(pa.float32()),
    "top_texts": pa.list_(pa.list_(pa.string())),
}
_SIGNAL = "signal:"
_MADE = b"actfocus"
_REFERENCE = "ref_"
ANNOTATIONS = {
    "oracle-optimal": ("oracle_q", "oracle_v", "criticality"),
    "oracle-policy": (
        "policy_q",
        "policy_v",
        "policy_q_replica",
        "policy_v_replica",
        "policy_q_n",
        "policy_v_n",
        "policy_q_half",
        "policy_v_half",
    ),
    "oracle-answers": ("answer_logprob_before", "answer_logprob_after"),
}
"""Annotation -> the signals it holds. Any other name is a reference model's, which holds ``ref_*``; of
these one is chosen when trajectories are read, while all of the ones here are added. How they
are made: ``actfocus_core.oracle.values``."""
_INFO: dict[str, dict[str, type]] = {
    "config": {
        **dict.fromkeys(
            ("command", "env", "policy", "model", "scheme", "tokenizer", "spans", "stamp", "algorithm"), str
        ),
        "env_options": dict,
        "scheme_params": dict,
    },
    "model": {"name": str, "fingerprint": str},
}
"""What of run.json is text or an object, where it is there."""
_FOLDERS = ("trajectories", "signals", "whatif", "checkpoints", "evaluation", "policy")
"""What lies in a run folder and is never a link."""
_Stamp = tuple[int, int, int]
"""What ``stamp`` gives of a file."""
_FILE = re.compile(r"step-(\d{5,})(?:\.(.+))?\.parquet$")


class Run:
    """A run folder. Make one with ``Run.create``, read one with ``Run.open``."""

    def __init__(self, path: Path, info: dict[str, Any]):
        self.path = path
        self.info = info
        """The content of run.json."""
        self._indexed: tuple[tuple[tuple[Path, _Stamp], ...], pd.DataFrame, list[int]] | None = None

    @property
    def name(self) -> str:
        return self.path.name

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
            "versions": _versions(),
        }
        try:
            made = [folder for folder in path.parents if not folder.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as hidden:
                whole = Path(hidden) / path.name
                for folder in (whole, whole / "trajectories", whole / "signals"):
                    folder.mkdir()
                _write_info(whole, info)
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
        return cls(path, _info(file))

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
        _write(_facts_table(trajectories), file)
        return file

    def index(self) -> pd.DataFrame:
        """One row a trajectory, ordered by step: scalars and counts, no token is read.

        Kept until a file is added or changed, so asking again costs nothing.
        """
        return self._index()[0].copy(deep=False)  # copy-on-write: what the caller changes stays there

    def _index(self) -> tuple[pd.DataFrame, list[int]]:
        """The index, and at which of its rows each step's file begins."""
        files = tuple((f, stamp(f)) for f in map(self._facts, self.steps()))
        if self._indexed is None or self._indexed[0] != files:
            frames = [_index(*file) for file in files]
            columns = [*_SCALARS, *_COUNTS]
            frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
            frame["return"] = frame["reward"] + frame["penalty"]
            self._indexed = (files, frame, [0, *np.cumsum([len(f) for f in frames]).tolist()])
        return self._indexed[1:]

    def trajectories(self, step: int | None = None, reference: str | None = None) -> list[Trajectory]:
        """All trajectories, or those of one step, with a reference model's signals and all ANNOTATIONS.

        ``reference``: whose signals to add; None takes the only or alphabetically first
        one. Raises ActFocusError for a step, a reference or a file that is not there or broken.
        """
        steps = self.steps() if step is None else [step]
        return [t for s in steps for t in self._read_step(s, reference)]

    def trajectory(self, id: str, reference: str | None = None) -> Trajectory:
        """One trajectory by its id; reads only the row group that holds it."""
        index, starts = self._index()
        hits = np.flatnonzero((index["id"] == id).to_numpy(bool))
        if len(hits):
            place = bisect_right(starts, hits[0]) - 1
            return self._read_step(self.steps()[place], reference, row=int(hits[0]) - starts[place])[0]
        raise ActFocusError(f"{self.path}: no trajectory {id!r} in this run")

    def _read_step(self, step: int, reference: str | None, row: int | None = None) -> list[Trajectory]:
        table = _read(self._facts(step), row)
        trajectories = _trajectories(table, self._facts(step))
        for name in self._chosen(step, reference):
            file = self._annotation(step, name)
            _annotate(trajectories, _read(file, row), file, name)
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
            notes = {name: _Rows(file) for name, file in files.items()}
            for table in _Rows(facts):
                _demand(table.column_names, ["id"], facts)
                parts = {name: rows.take(table.num_rows) for name, rows in notes.items()}
                for row, id in enumerate(table["id"].to_pylist()):
                    if ids is not None and id not in ids:
                        continue
                    try:
                        one = _trajectories(table.slice(row, 1), facts)
                        for name, part in parts.items():
                            _annotate(one, part.slice(row, 1), files[name], name)
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
        known = list(_index(facts, stamp(facts))["id"])
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
        table = _annotation_table([by_id[i] for i in known], name)
        _write(table.replace_schema_metadata({_MADE: json.dumps(made or {})}), file)
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
            with _parquet(file) as parquet:
                found = json.loads((parquet.schema_arrow.metadata or {}).get(_MADE, b"{}"))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ActFocusError(f"{file}: how it was made is not readable JSON; {_again(name)} writes it again")
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
                lines = _whole_lines(stream, limit)
        except FileNotFoundError:
            return [], offset
        except OSError as error:
            raise ActFocusError(f"{file}: cannot be read ({error.strerror})") from None
        try:
            rows = [json.loads(line) for line in lines if line.strip()]
        except (ValueError, RecursionError) as error:
            raise ActFocusError(f"{file}: a line after byte {offset} is not JSON ({error})") from None
        if not all(map(_is_row, rows)):
            raise ActFocusError(
                f'{file}: a line after byte {offset} is not {{"step": whole number, "name": number, ...}}'
            )
        return rows, offset + sum(map(len, lines))


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
        self._file(self.run._facts(step)).append(_facts_table(trajectories))
        if any(t.alternatives is not None or any(s.startswith(_REFERENCE) for s in t.signals) for t in trajectories):
            self._annotated.add(step)
        # Row groups of facts and annotation hold the same trajectories: all are written, or none.
        self._file(self.run._annotation(step, self.reference)).append(_annotation_table(trajectories, self.reference))

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
        facts, notes = _facts_table(chunk), _annotation_table(chunk, "")
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
    table = _read(path, None)
    trajectories = _trajectories(table, path)
    _add_alternatives(trajectories, table, range(len(trajectories)), path)
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


def slug(name: str) -> str:
    """A model's name as part of a file name: letters, digits, dot, dash, underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "model"


@contextmanager
def appearing_run(path: Path, config: dict[str, Any], model: dict[str, Any] | None = None) -> Iterator[Run]:
    """Yield a new run that is hidden until the block ends: it appears whole or not at all.

    For runs that are made in one go. Raises ActFocusError where the path is taken.
    """
    path = Path(path)
    if path.exists():
        raise ActFocusError(f"{path}: already exists; choose another name for the run")
    run = Run.create(hidden_path(path, os.getpid()), config, model)
    try:
        yield run
        # What was learnt of the run while it was made is in its info by now.
        _write_info(run.path, run.info)
        run.path = run.path.rename(path)
        sync(path.parent)
    except OSError as error:
        raise ActFocusError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(hidden_path(path, os.getpid()), ignore_errors=True)


def hidden_path(path: Path, process: int) -> Path:
    """Where a process keeps a run that has not appeared yet."""
    return path.with_name(f".{path.name}.{process}.part")


def free_path(folder: Path, stem: str) -> Path:
    """The first of ``folder/stem-1``, ``-2``, ... that is not taken."""
    number = 1
    while (folder / f"{stem}-{number}").exists():
        number += 1
    return folder / f"{stem}-{number}"


def stamp(file: Path) -> _Stamp:
    """What changes when a file is replaced, however the clock goes: its time, size and inode.

    Raises ActFocusError where it is gone.
    """
    try:
        found = file.stat()
    except OSError as error:
        raise ActFocusError(f"{file}: cannot be read ({error.strerror}); was the run deleted?") from None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _info(file: Path) -> dict[str, Any]:
    """A checked run.json: what the readers take from it has its type, and parts that are missing are empty."""
    try:
        info = read_json(file)
    except OSError as error:
        raise ActFocusError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ActFocusError(f"{file}: not readable JSON ({error})") from None
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise ActFocusError(f'{file}: "format" is not "{FORMAT}"; this is not a run of actfocus')
    if info.get("version") != VERSION:
        raise ActFocusError(f'{file}: "version" is {info.get("version")!r}; this actfocus reads version {VERSION}')
    for part in ("config", "model", "versions"):
        info[part] = {} if info.get(part) is None else info[part]
        if not isinstance(info[part], dict):
            raise ActFocusError(f'{file}: "{part}" must be an object')
    for part, kinds in _INFO.items():
        for name, kind in kinds.items():
            if not isinstance(info[part].get(name), (kind, NoneType)):
                raise ActFocusError(f'{file}: "{name}" in "{part}" must be {"an object" if kind is dict else "text"}')
    return info


def _whole_lines(stream: IO[bytes], limit: int | None) -> list[bytes]:
    """The next lines of a file, at most ``limit``; a last one still being written is left out. Raises OSError for one
    of more than LINE_MAX bytes."""
    lines: list[bytes] = []
    while limit is None or len(lines) < limit:
        line = stream.readline(LINE_MAX + 1)
        if len(line) > LINE_MAX:
            raise OSError(errno.EFBIG, f"a line has more than the {LINE_MAX:,} bytes that are read")
        if not line.endswith(b"\n"):
            break
        lines.append(line)
    return lines


def _is_row(row: object) -> bool:
    """Whether it is a row of metrics: numbers by name, and its step."""
    return (
        isinstance(row, dict)
        and type(row.get("step")) is int
        and 0 <= row["step"] < 2**31
        and all(
            isinstance(value, (float, NoneType)) or (isinstance(value, int) and abs(value) < 2**63)
            for value in row.values()
        )
    )


def _write_info(folder: Path, info: dict[str, Any]) -> None:
    with appearing(folder / "run.json", durable=True) as part:
        part.write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


def _versions() -> dict[str, str]:
    names = ("torch", "transformers", "numpy", "pyarrow")
    found = {"actfocus": actfocus_core.__version__, "python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


# --- tables ------------------------------------------------------------------------------


def _facts_table(trajectories: list[Trajectory]) -> pa.Table:
    columns = {name: pa.array([getattr(t, name) for t in trajectories], kind) for name, kind in _SCALARS.items()}
    counts = [_counts(t) for t in trajectories]
    columns |= {name: pa.array([c[name] for c in counts], kind) for name, kind in _COUNTS.items()}
    columns |= {
        name: pa.array([getattr(t, name) for t in trajectories], kind)
        for name, kind in _COLUMNS.items()
        if name != "turn_records"
    }
    columns["turn_records"] = pa.array(
        [[{**vars(turn), "state": json.dumps(turn.state)} for turn in t.turn_records] for t in trajectories],
        _COLUMNS["turn_records"],
    )
    if any(t.columns for t in trajectories):
        columns["columns"] = pa.array(
            [json.dumps(t.columns) if t.columns else None for t in trajectories], _OPTIONAL["columns"]
        )
    if any(t.rollout_id for t in trajectories):
        columns["rollout_id"] = pa.array([t.rollout_id or None for t in trajectories], _OPTIONAL["rollout_id"])
    own = sorted({s for t in trajectories for s in t.signals if not s.startswith(_REFERENCE)})
    return pa.table(columns | _signal_columns(trajectories, own))


def _annotation_table(trajectories: list[Trajectory], name: str) -> pa.Table:
    names = sorted({s for t in trajectories for s in t.signals if _holds(name, s)})
    columns = {"id": pa.array([t.id for t in trajectories], pa.string())}
    columns |= _signal_columns(trajectories, names)
    if name not in ANNOTATIONS and any(t.alternatives is not None for t in trajectories):
        alt = [t.alternatives for t in trajectories]
        columns["top_ids"] = pa.array([a and a.ids.ravel() for a in alt], pa.list_(pa.int32()))
        columns["top_logprobs"] = pa.array([a and a.logprobs.ravel() for a in alt], pa.list_(pa.float32()))
        columns["top_texts"] = pa.array([a and a.texts for a in alt], pa.list_(pa.list_(pa.string())))
    return pa.table(columns)


def _holds(annotation: str, signal: str) -> bool:
    """Whether a signal belongs to an annotation."""
    return signal in ANNOTATIONS[annotation] if annotation in ANNOTATIONS else signal.startswith(_REFERENCE)


def _again(annotation: str) -> str:
    """The command that makes an annotation anew."""
    return "`actfocus oracle --again`" if annotation in ANNOTATIONS else "`actfocus score`"


def _signal_columns(trajectories: list[Trajectory], names: list[str]) -> dict[str, pa.Array]:
    return {_SIGNAL + n: pa.array([t.signals.get(n) for t in trajectories], pa.list_(pa.float32())) for n in names}


def _counts(t: Trajectory) -> dict[str, int]:
    by_kind = np.bincount(t.kinds, minlength=len(TokenKind))
    return {
        "n_turns": len(t.turn_records),
        "n_valid": sum(r.valid for r in t.turn_records),
        "n_tokens": len(t),
        "n_reasoning": int(by_kind[TokenKind.REASONING]),
        "n_action": int(by_kind[TokenKind.ACTION]),
        "n_format": int(by_kind[TokenKind.FORMAT]),
    }


def _write(table: pa.Table, file: Path) -> None:
    try:
        with appearing(file, durable=True) as part:
            pq.write_table(table, part, row_group_size=ROWS_PER_GROUP, compression="zstd")
    except OSError as error:
        raise ActFocusError(f"{file}: cannot be written ({error.strerror or error})") from None


def _read(file: Path, row: int | None, columns: list[str] | None = None) -> pa.Table:
    """The whole table, or one row, for which one row group is read."""
    with _parquet(file) as parquet:
        if row is None:
            return _valid(parquet.read(columns))
        if row >= parquet.metadata.num_rows:
            raise ActFocusError(
                f"{file}: has {parquet.metadata.num_rows} rows, and trajectory {row + 1} of the step is asked for"
            )
        group, first = 0, 0
        while row >= first + parquet.metadata.row_group(group).num_rows:
            first += parquet.metadata.row_group(group).num_rows
            group += 1
        return _valid(parquet.read_row_group(group, columns)).slice(row - first, 1)


@contextmanager
def _parquet(file: Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file of a run, open for the block. Raises ActFocusError for what cannot be read of it."""
    with _readable(file), _native(file) as stream:
        yield pq.ParquetFile(stream)


def _native(file: Path) -> pa.NativeFile:
    """A regular file, open for Arrow.

    Arrow's threads must not call back into Python, as they would for a file of Python's: a daemon thread that reads
    while the interpreter ends would wait for ever. So Arrow opens the checked file again, by its descriptor.
    """
    with open_to_read(file) as checked:
        return pa.OSFile(f"/dev/fd/{checked.fileno()}")


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Make one line of what is wrong with a Parquet file."""
    try:
        yield
    except OSError as error:
        raise ActFocusError(f"{file}: not readable as Parquet ({error.strerror or _first_line(error)})") from None
    except (pa.ArrowException, UnicodeDecodeError) as error:
        # Names in a damaged footer need not be UTF-8.
        raise ActFocusError(f"{file}: not readable as Parquet ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


class _Rows:
    """The rows of a Parquet file in order: a row group at a time, or as many as are taken."""

    def __init__(self, file: Path):
        self._file = file
        with _readable(file):
            self._parquet = pq.ParquetFile(_native(file))
            self._rest = self._parquet.schema_arrow.empty_table()
        self._groups = iter(self)

    def __iter__(self) -> Iterator[pa.Table]:
        for group in range(self._parquet.num_row_groups):
            with _readable(self._file):
                table = _valid(self._parquet.read_row_group(group))
            yield table

    def take(self, count: int) -> pa.Table:
        """The next ``count`` rows, fewer at the end."""
        while self._rest.num_rows < count and (table := next(self._groups, None)) is not None:
            self._rest = pa.concat_tables([self._rest, table])
        taken, self._rest = self._rest.slice(0, count), self._rest.slice(count)
        return taken


def _valid(table: pa.Table) -> pa.Table:
    """The table, if what was read is what it says: offsets in range, and text that is UTF-8."""
    table.validate(full=True)
    return table


@lru_cache(maxsize=4096)
def _index(file: Path, stamp: _Stamp) -> pd.DataFrame:
    """Scalars of one file. Its stamp is part of the key: a new file, a new entry."""
    wanted = [*_SCALARS, *_COUNTS]
    with _parquet(file) as parquet:
        names = parquet.schema_arrow.names
    _demand(names, wanted, file)
    table = _read(file, None, wanted)
    _demand_types(table, {**_SCALARS, **_COUNTS}, file)
    return table.to_pandas()


def _demand(present: list[str], wanted: list[str], file: Path, annotation: str | None = None) -> None:
    missing = [name for name in wanted if name not in present]
    if missing and annotation is not None:
        raise ActFocusError(f"{file}: no column {missing[0]!r}; {_again(annotation)} writes the annotation again")
    if missing:
        raise ActFocusError(
            f"{file}: no column {missing[0]!r}; a trajectory file has {', '.join([*_SCALARS, *_COLUMNS])}"
        )


def _demand_types(table: pa.Table, kinds: dict[str, pa.DataType], file: Path) -> None:
    """Raises ActFocusError for a column of another type, or with a value that is missing."""
    for name, kind in kinds.items():
        found = table.schema.field(name).type
        if found != kind:
            raise ActFocusError(f"{file}: column {name!r} is {found}; it must be {kind}")
        if any(map(_lacks, table[name].chunks)):
            raise ActFocusError(
                f"{file}: column {name!r} lacks a value; every trajectory has one, and every token of it"
            )


def _lacks(array: pa.Array) -> bool:
    """Whether a value is null, also inside of lists and structures."""
    if array.null_count:
        return True
    if pa.types.is_list(array.type):
        return _lacks(array.flatten())
    return pa.types.is_struct(array.type) and any(map(_lacks, array.flatten()))


def _ragged(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    """A list column as one NumPy array a row, without a Python object a number."""
    rows: list[np.ndarray | None] = []
    for chunk in column.chunks:
        flat = chunk.values.to_numpy(zero_copy_only=False)
        offsets, valid = chunk.offsets.to_numpy(), chunk.is_valid().to_numpy(zero_copy_only=False)
        rows += [flat[a:b] if ok else None for a, b, ok in zip(offsets, offsets[1:], valid)]
    return rows


def _signals(table: pa.Table, file: Path) -> list[dict[str, np.ndarray]]:
    """The signals of every row. Raises ActFocusError for a column that is not lists of numbers."""
    rows: list[dict[str, np.ndarray]] = [{} for _ in range(table.num_rows)]
    for name in table.column_names:
        if name.startswith(_SIGNAL):
            kind = table.schema.field(name).type
            if not (pa.types.is_list(kind) and pa.types.is_floating(kind.value_type)):
                raise ActFocusError(f"{file}: column {name!r} is {kind}; a signal is a list of float a trajectory")
            for row, values in zip(rows, _ragged(table[name])):
                if values is not None:
                    row[name.removeprefix(_SIGNAL)] = values
    return rows


def _trajectories(table: pa.Table, file: Path) -> list[Trajectory]:
    _demand(table.column_names, [*_SCALARS, *_COLUMNS], file)
    _demand_types(table, {**_SCALARS, **_COLUMNS}, file)
    columns = {name: table[name].to_pylist() for name in [*_SCALARS, "texts", "turn_records"]}
    columns |= {name: _ragged(table[name]) for name in ("token_ids", "kinds", "turns", "logprobs")}
    columns["signals"] = _signals(table, file)
    columns |= _optional(table, file)
    try:
        columns["turn_records"] = [
            [Turn(**{**turn, "state": _object(turn["state"])}) for turn in turns] for turns in columns["turn_records"]
        ]
        return [Trajectory(**dict(zip(columns, row))) for row in zip(*columns.values())]
    except (TypeError, ValueError, RecursionError) as error:
        raise ActFocusError(f"{file}: a trajectory is malformed ({error})") from None


def _optional(table: pa.Table, file: Path) -> dict[str, list[Any]]:
    """The columns of _OPTIONAL that are there. Raises ActFocusError for one of another type, or that is not JSON."""
    there = [name for name in _OPTIONAL if name in table.column_names]
    for name in there:
        if table.schema.field(name).type != _OPTIONAL[name]:
            raise ActFocusError(
                f"{file}: column {name!r} is {table.schema.field(name).type}; it must be {_OPTIONAL[name]}"
            )
    found = {name: [value or "" for value in table[name].to_pylist()] for name in there}
    if "columns" in found:
        try:
            found["columns"] = [json.loads(text or "{}") for text in found["columns"]]
        except (ValueError, RecursionError) as error:
            raise ActFocusError(f"{file}: column 'columns' is not JSON ({error})") from None
    return found


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("the state of a turn is not an object")
    return value


def _annotate(trajectories: list[Trajectory], table: pa.Table, file: Path, name: str) -> None:
    """Add what an annotation holds to its trajectories, by id."""
    _demand(table.column_names, ["id", *(_SIGNAL + signal for signal in ANNOTATIONS.get(name, ()))], file, name)
    _demand_types(table, {"id": pa.string()}, file)
    rows = dict(zip(table["id"].to_pylist(), range(table.num_rows)))
    signals = _signals(table, file)
    stray = next((s for row in signals for s in row if not _holds(name, s)), None)
    if stray:
        raise ActFocusError(f"{file}: holds {stray!r}, which is no part of {name}; {_again(name)} writes it again")
    for t in trajectories:
        if t.id not in rows:
            raise ActFocusError(
                f"{file}: trajectory {t.id!r} is not annotated here; {_again(name)} writes the annotation again"
            )
        row = rows[t.id]
        t.signals |= signals[row]
        for signal, values in signals[row].items():
            if len(values) != len(t):
                raise ActFocusError(f"{file}: {signal} of {t.id!r} has {len(values)} values for {len(t)} tokens")
    _add_alternatives(trajectories, table, [rows[t.id] for t in trajectories], file)


def _add_alternatives(trajectories: list[Trajectory], table: pa.Table, rows: Iterable[int], file: Path) -> None:
    """The reference's likeliest next tokens, where the table has them."""
    if not _ALTERNATIVES.keys() <= set(table.column_names):
        return
    for name, kind in _ALTERNATIVES.items():
        if table.schema.field(name).type != kind:
            raise ActFocusError(f"{file}: column {name!r} is {table.schema.field(name).type}; it must be {kind}")
    ids, logprobs = _ragged(table["top_ids"]), _ragged(table["top_logprobs"])
    for t, row in zip(trajectories, rows):
        top, likely = ids[row], logprobs[row]
        if top is not None:
            k, texts = len(top) // max(len(t), 1), table["top_texts"][row].as_py()
            if (
                likely is None
                or texts is None
                or not len(top) == len(likely) == k * len(t)
                or len(texts) != len(t)
                or any(some is None or None in some for some in texts)
            ):
                raise ActFocusError(
                    f"{file}: the alternatives of {t.id!r} must be k ids, log-probs and texts for each of its {len(t)} tokens"
                )
            t.alternatives = Alternatives(top.reshape(len(t), k), likely.reshape(len(t), k), texts)
