"""The formats that can be imported, and the detection of the format of a file or folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.formats import areal, chat, native, prime_rl, ragen, skyrl, trl, verifiers, verl
from actfocus_core.interop.samples import LeftOut, Sample
from actfocus_core.interop.sources import (
    PICKLES,
    Record,
    data_suffix,
    open_parquet,
    read_lines,
    read_rows,
    refuse_pickle,
)
from actfocus_core.trajectory import Trajectory

Read = Callable[[Record, Path], Iterator[Sample | Trajectory | LeftOut]]
"""A function that yields the contents of one record of a file."""
LINES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True)
class Format:
    """One file format of rollouts."""

    name: str
    title: str
    suffixes: tuple[str, ...]
    matches: Callable[[dict[str, Any]], bool]
    """Whether a record with these fields has this format."""
    samples: Read
    needs_tokenizer: bool = True
    prepared: Callable[[list[Path], Sequence[str] | None], tuple[Read, dict[str, Any]]] | None = None
    """For formats whose fields cannot be interpreted from one record alone: takes all files and the reward columns that
    the user names, and returns ``samples`` for these files and entries for the config of run.json"""

    def read(
        self,
        path: Path,
        on_bytes: Callable[[float], None] | None = None,
        on_left_out: Callable[[str], None] | None = None,
    ) -> Iterator[Sample | Trajectory]:
        """Yield the rollouts of one file; ``on_left_out(what)`` is called for each item that is left out.

        Raises ActFocusError with file and line if the input is invalid.
        """
        rows = read_rows if data_suffix(path) == ".parquet" else read_lines
        for record in rows(path, on_bytes):
            for item in self.samples(record, path):
                if not isinstance(item, LeftOut):
                    yield item
                elif on_left_out:
                    on_left_out(item.what)

    def prepare(self, files: list[Path], reward_columns: Sequence[str] | None = None) -> tuple[Format, dict[str, Any]]:
        """The format configured for these files, and entries for the config of run.json.

        Raises ActFocusError for reward columns that do not exist, or if the format has no reward columns to choose from.
        """
        if self.prepared is None:
            if reward_columns is not None:
                raise ActFocusError(
                    f"{files[0]}: {self.title} defines the reward; --reward-columns is for "
                    f"{', '.join(f.title for f in FORMATS.values() if f.prepared)}"
                )
            return self, {}
        samples, config = self.prepared(files, reward_columns)
        return replace(self, samples=samples), config


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        # The first match is used, so the more specific formats come first.
        Format("jsonl", "ActFocus JSONL", LINES, native.matches, native.trajectories, needs_tokenizer=False),
        Format(
            "parquet", "ActFocus Parquet", (".parquet",), native.matches, native.trajectories, needs_tokenizer=False
        ),
        Format("prime-rl", "prime-rl token export", LINES, prime_rl.matches, prime_rl.samples),
        Format("verifiers", "verifiers traces or results", LINES, verifiers.matches, verifiers.samples),
        Format("ragen", "RAGEN evaluation", LINES, ragen.matches, ragen.samples),
        Format("areal", "AReaL rollout dump", LINES, areal.matches, areal.samples),
        Format("verl", "verl rollout_data_dir", LINES, verl.matches, verl.samples),
        Format("skyrl", "SkyRL evaluation dump", LINES, skyrl.matches, skyrl.samples),
        Format("trl", "TRL completions", (".parquet",), trl.matches, trl.samples, prepared=trl.prepared),
        Format("chat", "chat JSONL", (*LINES, ".parquet"), chat.matches, chat.samples),
    )
}


def get_format(name: str) -> Format:
    """A format by its name. Raises ActFocusError for an unknown one."""
    if name not in FORMATS:
        raise ActFocusError(f"unknown format {name!r}; choose one of auto, {', '.join(FORMATS)}")
    return FORMATS[name]


def recognise(path: str | Path) -> Format:
    """The format of a file, or of the first file in a folder that has a known format.

    Reads one record per file. Raises ActFocusError, listing the fields, if no format matches.
    """
    files = data_files(Path(path))
    for file in files:
        fields = _first(file)
        for format in FORMATS.values():
            if data_suffix(file) in format.suffixes and format.matches(fields):
                return format
    shown = ", ".join(sorted(fields)[:8]) or "none"
    raise ActFocusError(
        f"{files[-1]}: not a known format (its fields: {shown}); the formats are "
        f'{", ".join(FORMATS)}; name one, or write {{"messages": [...], "reward": ...}} lines'
    )


def data_files(path: Path, format: Format | None = None) -> list[Path]:
    """The file itself, or the data files of a folder (of ``format`` if given) in natural order.

    Raises ActFocusError for a pickle, or if there is no data file.
    """
    if not path.exists():
        raise ActFocusError(f"{path}: no such file or folder")
    if path.is_file():
        refuse_pickle(path)
        suffix, suffixes = data_suffix(path), format.suffixes if format else (*LINES, ".parquet")
        if suffix not in suffixes:
            raise ActFocusError(
                f"{path}: {f'is a {suffix} file' if suffix else 'has no suffix'}; "
                f"{format.title if format else 'rollouts'} are read from {', '.join(suffixes)}, "
                "optionally compressed as .gz or .zst"
            )
        return [path]
    candidates = sorted(
        (f for f in path.rglob("*") if f.is_file() and not _is_hidden(f.relative_to(path))), key=_natural
    )
    known = [
        f
        for f in candidates
        if data_suffix(f) in ((*LINES, ".parquet") if format is None else format.suffixes)
        and f.name not in ("metadata.json", "config.json")
        and not _is_document(f)
    ]
    if format and path.is_dir():
        known = [f for f in known if format.matches(_first(f))]
    if not known:
        for file in candidates:
            if data_suffix(file) in PICKLES:
                refuse_pickle(file)
        raise ActFocusError(
            f"{path}: contains no file of {format.title if format else 'rollouts'}; it must contain "
            f"{', '.join(format.suffixes if format else (*LINES, '.parquet'))} files"
        )
    return known


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _is_document(file: Path) -> bool:
    """Whether a file is one JSON document over several lines, for instance settings, and not rollouts."""
    try:
        return data_suffix(file) == ".json" and not _first(file)
    except ActFocusError:
        return True


def _first(file: Path) -> dict[str, Any]:
    """The fields of a file's first record."""
    if data_suffix(file) == ".parquet":
        return dict.fromkeys(open_parquet(file).schema_arrow.names)
    return next((record.value for record in read_lines(file)), {})


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key of natural order: 2.jsonl before 10.jsonl."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", str(path))]
