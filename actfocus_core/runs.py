"""The run folder: the one interface between making trajectories and looking at them.

    NAME/
      run.json                              config, versions, model: written once
      metrics.jsonl                         one line a step, append-only
      trajectories/step-00012.parquet       facts, never rewritten
      signals/step-00012.REFERENCE.parquet  annotations, keyed by trajectory id

Every file appears by rename and is whole when it is seen; ``metrics.jsonl`` grows by
whole lines. So a run can be read while it is written, and years later.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import platform
import re
import shutil
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import actfocus_core
from actfocus_core.errors import ActFocusError
from actfocus_core.paths import appearing
from actfocus_core.trajectory import Alternatives, TokenKind, Trajectory, Turn

FORMAT = "actfocus-run"
VERSION = 1
ROWS_PER_GROUP = 64
"""Trajectories a Parquet row group: what is read to show one of them."""

_SCALARS = {
    "id": pa.string(), "group": pa.string(), "env": pa.string(), "seed": pa.int64(),
    "rollout": pa.int32(), "step": pa.int32(), "model": pa.string(), "reward": pa.float64(),
    "penalty": pa.float64(), "success": pa.bool_(), "terminated": pa.bool_(),
    "truncated": pa.bool_(),
}
_COUNTS = {
    "n_turns": pa.int32(), "n_valid": pa.int32(), "n_tokens": pa.int32(),
    "n_reasoning": pa.int32(), "n_action": pa.int32(), "n_format": pa.int32(),
}
_TURN = pa.struct([
    ("observation", pa.string()), ("response", pa.string()), ("actions", pa.list_(pa.string())),
    ("valid", pa.bool_()), ("reward", pa.float64()), ("penalty", pa.float64()),
    ("state_key", pa.string()), ("state", pa.string()),
])
_COLUMNS = {
    "token_ids": pa.list_(pa.int32()), "kinds": pa.list_(pa.uint8()),
    "turns": pa.list_(pa.int16()), "logprobs": pa.list_(pa.float32()),
    "texts": pa.list_(pa.string()), "turn_records": pa.list_(_TURN),
}
_SIGNAL = "signal:"
_FILE = re.compile(r"step-(\d{5,})(?:\.(.+))?\.parquet$")


class Run:
    """A run folder. Make one with ``Run.create``, read one with ``Run.open``."""

    def __init__(self, path: Path, info: dict):
        self.path = path
        self.info = info
        """The content of run.json."""

    @property
    def name(self) -> str:
        return self.path.name

    @classmethod
    def create(cls, path: str | Path, config: dict, model: dict | None = None) -> Run:
        """Make a new run folder; it appears with its run.json or not at all.

        ``config`` is what repeats the run (JSON); ``model`` describes the rollout policy
        (name, fingerprint). Raises ActFocusError where the path is taken or not writable.
        """
        path = Path(path)
        if path.exists():
            raise ActFocusError(f"{path}: already exists; choose another name for the run")
        info = {"format": FORMAT, "version": VERSION, "config": config, "model": model or {},
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "versions": _versions()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as hidden:
                whole = Path(hidden) / path.name
                for folder in (whole, whole / "trajectories", whole / "signals"):
                    folder.mkdir()
                (whole / "run.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
                whole.rename(path)
        except OSError as error:
            raise ActFocusError(f"{path}: cannot be written ({error.strerror})") from None
        return cls(path, info)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open an existing run folder. Raises ActFocusError where it is not one."""
        path = Path(path).resolve()
        file = path / "run.json"
        if not path.exists():
            raise ActFocusError(f"{path}: no such run; `actfocus rollout --out {path}` makes one")
        if not file.is_file():
            raise ActFocusError(f"{path}: not a run folder, it has no run.json")
        try:
            info = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ActFocusError(f"{file}: not readable JSON ({error})") from None
        if not isinstance(info, dict) or info.get("format") != FORMAT:
            raise ActFocusError(f'{file}: "format" is not "{FORMAT}"; this is not a run of actfocus')
        if info.get("version") != VERSION:
            raise ActFocusError(f'{file}: "version" is {info.get("version")!r}; '
                                f"this actfocus reads version {VERSION}")
        return cls(path, info)

    # --- facts ---------------------------------------------------------------------------

    def steps(self) -> list[int]:
        """The steps that have trajectories, ascending."""
        return sorted(int(m[1]) for f in (self.path / "trajectories").glob("step-*.parquet")
                      if (m := _FILE.search(f.name)))

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
        """One row a trajectory, ordered by step: scalars and counts, no token is read."""
        frames = [_index(self._facts(step), self._facts(step).stat().st_mtime_ns)
                  for step in self.steps()]
        columns = [*_SCALARS, *_COUNTS]
        frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
        frame["return"] = frame["reward"] + frame["penalty"]
        return frame

    def trajectories(self, step: int | None = None, reference: str | None = None) -> list[Trajectory]:
        """All trajectories, or those of one step, with the signals of a reference model.

        ``reference``: which annotation to add; None takes the only or alphabetically first
        one. Raises ActFocusError for a step, a reference or a file that is not there or broken.
        """
        steps = self.steps() if step is None else [step]
        return [t for s in steps for t in self._read_step(s, reference)]

    def trajectory(self, id: str, reference: str | None = None) -> Trajectory:
        """One trajectory by its id; reads only the row group that holds it."""
        for step in self.steps():
            frame = _index(self._facts(step), self._facts(step).stat().st_mtime_ns)
            hits = np.flatnonzero(frame["id"].to_numpy() == id)
            if len(hits):
                return self._read_step(step, reference, row=int(hits[0]))[0]
        raise ActFocusError(f"{self.path}: no trajectory {id!r} in this run")

    def _read_step(self, step: int, reference: str | None, row: int | None = None) -> list[Trajectory]:
        table, skip = _read(self._facts(step), row)
        trajectories = _trajectories(table, self._facts(step))[skip]
        chosen = self._chosen_reference(step, reference)
        if chosen:
            file = self._annotation(step, chosen)
            notes, skip = _read(file, row)
            _annotate(trajectories, notes, file)
        return trajectories

    def _facts(self, step: int) -> Path:
        return self.path / "trajectories" / f"step-{step:05d}.parquet"

    # --- annotations ---------------------------------------------------------------------

    def references(self, step: int | None = None) -> list[str]:
        """Names of the reference models that annotated this step (or any step)."""
        found = {m[2] for f in (self.path / "signals").glob("step-*.parquet")
                 if (m := _FILE.search(f.name)) and m[2] and (step is None or int(m[1]) == step)}
        return sorted(found)

    def annotate(self, step: int, reference: str, trajectories: list[Trajectory]) -> Path:
        """Store the ``ref_*`` signals and alternatives of a step's trajectories, all of them.

        Scoring again with the same reference replaces the annotation; facts stay.
        """
        facts = self._facts(step)
        known = list(_index(facts, facts.stat().st_mtime_ns)["id"])
        by_id = {t.id: t for t in trajectories}
        if set(by_id) != set(known):
            raise ActFocusError(f"{facts}: an annotation covers all {len(known)} trajectories of a "
                                f"step, {len(set(by_id) & set(known))} were given")
        # In the order of the facts, so that one row group holds the same trajectories in both.
        file = self._annotation(step, reference)
        _write(_annotation_table([by_id[i] for i in known]), file)
        return file

    def _annotation(self, step: int, reference: str) -> Path:
        return self.path / "signals" / f"step-{step:05d}.{slug(reference)}.parquet"

    def _chosen_reference(self, step: int, reference: str | None) -> str | None:
        names = self.references(step)
        if reference is None:
            return names[0] if names else None
        if slug(reference) not in names:
            raise ActFocusError(f"{self.path}: step {step} has no signals of {reference!r}; "
                                f"it has {names or 'none'}; `actfocus score` adds them")
        return slug(reference)

    # --- metrics -------------------------------------------------------------------------

    def log(self, metrics: dict) -> None:
        """Append one line to metrics.jsonl, in one write."""
        line = json.dumps(metrics, allow_nan=False) + "\n"
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def metrics(self, offset: int = 0, limit: int | None = None) -> tuple[list[dict], int]:
        """Rows written since a byte offset, at most ``limit``, and the offset to go on from.

        A last line still being written is left for the next call.
        """
        file = self.path / "metrics.jsonl"
        if not file.exists():
            return [], offset
        with open(file, "rb") as stream:
            stream.seek(offset)
            lines = list(itertools.islice(stream, limit))
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        try:
            return [json.loads(line) for line in lines if line.strip()], offset + sum(map(len, lines))
        except ValueError as error:
            raise ActFocusError(f"{file}: a line after byte {offset} is not JSON ({error})") from None


def slug(name: str) -> str:
    """A model's name as part of a file name: letters, digits, dot, dash, underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "model"


@contextmanager
def appearing_run(path: Path, config: dict, model: dict | None = None):
    """Yield a new run that is hidden until the block ends: it appears whole or not at all.

    For runs that are made in one go. Raises ActFocusError where the path is taken.
    """
    path = Path(path)
    if path.exists():
        raise ActFocusError(f"{path}: already exists; choose another name for the run")
    run = Run.create(hidden_path(path, os.getpid()), config, model)
    try:
        yield run
        run.path = run.path.rename(path)
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


def _versions() -> dict:
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
    columns = {name: pa.array([getattr(t, name) for t in trajectories], kind)
               for name, kind in _SCALARS.items()}
    counts = [_counts(t) for t in trajectories]
    columns |= {name: pa.array([c[name] for c in counts], kind) for name, kind in _COUNTS.items()}
    columns |= {name: pa.array([getattr(t, name) for t in trajectories], kind)
                for name, kind in _COLUMNS.items() if name != "turn_records"}
    columns["turn_records"] = pa.array(
        [[{**vars(turn), "state": json.dumps(turn.state)} for turn in t.turn_records]
         for t in trajectories], _COLUMNS["turn_records"])
    own = sorted({s for t in trajectories for s in t.signals if not s.startswith("ref_")})
    return pa.table(columns | _signal_columns(trajectories, own))


def _annotation_table(trajectories: list[Trajectory]) -> pa.Table:
    names = sorted({s for t in trajectories for s in t.signals if s.startswith("ref_")})
    columns = {"id": pa.array([t.id for t in trajectories], pa.string())}
    columns |= _signal_columns(trajectories, names)
    if any(t.alternatives is not None for t in trajectories):
        alt = [t.alternatives for t in trajectories]
        columns["top_ids"] = pa.array([a and a.ids.ravel() for a in alt], pa.list_(pa.int32()))
        columns["top_logprobs"] = pa.array([a and a.logprobs.ravel() for a in alt],
                                           pa.list_(pa.float32()))
        columns["top_texts"] = pa.array([a and a.texts for a in alt],
                                        pa.list_(pa.list_(pa.string())))
    return pa.table(columns)


def _signal_columns(trajectories: list[Trajectory], names: list[str]) -> dict[str, pa.Array]:
    return {_SIGNAL + n: pa.array([t.signals.get(n) for t in trajectories], pa.list_(pa.float32()))
            for n in names}


def _counts(t: Trajectory) -> dict[str, int]:
    by_kind = np.bincount(t.kinds, minlength=len(TokenKind))
    return {"n_turns": len(t.turn_records), "n_valid": sum(r.valid for r in t.turn_records),
            "n_tokens": len(t), "n_reasoning": int(by_kind[TokenKind.REASONING]),
            "n_action": int(by_kind[TokenKind.ACTION]), "n_format": int(by_kind[TokenKind.FORMAT])}


def _write(table: pa.Table, file: Path) -> None:
    try:
        with appearing(file) as part:
            pq.write_table(table, part, row_group_size=ROWS_PER_GROUP, compression="zstd")
    except OSError as error:
        raise ActFocusError(f"{file}: cannot be written ({error.strerror or error})") from None


def _read(file: Path, row: int | None, columns: list[str] | None = None) -> tuple[pa.Table, slice]:
    """The table, or only the row group with ``row``; and where in it the wanted rows are."""
    try:
        parquet = pq.ParquetFile(file)
        if row is None:
            return parquet.read(columns), slice(None)
        group, first = 0, 0
        while row >= first + parquet.metadata.row_group(group).num_rows:
            first += parquet.metadata.row_group(group).num_rows
            group += 1
        return parquet.read_row_group(group, columns), slice(row - first, row - first + 1)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise ActFocusError(f"{file}: not readable as Parquet ({reason})") from None


@lru_cache(maxsize=4096)
def _index(file: Path, mtime_ns: int) -> pd.DataFrame:
    """Scalars of one file. The modification time is part of the key: a new file, a new entry."""
    wanted = [*_SCALARS, *_COUNTS]
    try:
        names = pq.read_schema(file).names
    except (OSError, pa.ArrowException) as error:
        raise ActFocusError(f"{file}: not readable as Parquet "
                            f"({str(error).splitlines()[0]})") from None
    _demand(names, wanted, file)
    return _read(file, None, wanted)[0].to_pandas()


def _demand(present: list[str], wanted: list[str], file: Path) -> None:
    missing = [name for name in wanted if name not in present]
    if missing:
        raise ActFocusError(f"{file}: no column {missing[0]!r}; a trajectory file has "
                            f"{', '.join([*_SCALARS, *_COLUMNS])}")


def _ragged(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    """A list column as one NumPy array a row, without a Python object a number."""
    rows = []
    for chunk in column.chunks:
        flat = chunk.values.to_numpy(zero_copy_only=False)
        offsets, valid = chunk.offsets.to_numpy(), chunk.is_valid().to_numpy(zero_copy_only=False)
        rows += [flat[a:b] if ok else None for a, b, ok in zip(offsets, offsets[1:], valid)]
    return rows


def _signals(table: pa.Table) -> list[dict[str, np.ndarray]]:
    rows = [{} for _ in range(table.num_rows)]
    for name in table.column_names:
        if name.startswith(_SIGNAL):
            for row, values in zip(rows, _ragged(table[name])):
                if values is not None:
                    row[name.removeprefix(_SIGNAL)] = values
    return rows


def _trajectories(table: pa.Table, file: Path) -> list[Trajectory]:
    _demand(table.column_names, [*_SCALARS, *_COLUMNS], file)
    columns = {name: table[name].to_pylist() for name in [*_SCALARS, "texts", "turn_records"]}
    columns |= {name: _ragged(table[name]) for name in ("token_ids", "kinds", "turns", "logprobs")}
    columns["signals"] = _signals(table)
    try:
        columns["turn_records"] = [
            [Turn(**{**turn, "state": json.loads(turn["state"])}) for turn in turns]
            for turns in columns["turn_records"]]
        return [Trajectory(**dict(zip(columns, row))) for row in zip(*columns.values())]
    except (TypeError, ValueError) as error:
        raise ActFocusError(f"{file}: a trajectory is malformed ({error})") from None


def _annotate(trajectories: list[Trajectory], table: pa.Table, file: Path) -> None:
    """Add the signals of an annotation to its trajectories, by id."""
    _demand(table.column_names, ["id"], file)
    rows = dict(zip(table["id"].to_pylist(), range(table.num_rows)))
    signals = _signals(table)
    top = {n: table[n] for n in ("top_ids", "top_logprobs", "top_texts") if n in table.column_names}
    ids, logprobs = (_ragged(top[n]) if n in top else None for n in ("top_ids", "top_logprobs"))
    for t in trajectories:
        if t.id not in rows:
            raise ActFocusError(f"{file}: trajectory {t.id!r} is not annotated here; "
                                "`actfocus score` writes the annotation again")
        row = rows[t.id]
        t.signals |= signals[row]
        for name, values in signals[row].items():
            if len(values) != len(t):
                raise ActFocusError(f"{file}: {name} of {t.id!r} has {len(values)} values for "
                                    f"{len(t)} tokens")
        if len(top) == 3 and ids[row] is not None:
            k = len(ids[row]) // max(len(t), 1)
            t.alternatives = Alternatives(ids[row].reshape(len(t), k),
                                          logprobs[row].reshape(len(t), k),
                                          top["top_texts"][row].as_py())
