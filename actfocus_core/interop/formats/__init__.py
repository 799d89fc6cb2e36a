"""The formats that can be read, and how a file or a folder is recognised as one of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.formats import areal, chat, prime_rl, ragen, skyrl, trl, verifiers, verl
from actfocus_core.interop.formats import native as own
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
"""What a record of a file holds."""
LINES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True)
class Format:
    """One way of writing rollouts down."""

    name: str
    title: str
    suffixes: tuple[str, ...]
    looks: Callable[[dict[str, Any]], bool]
    """Whether a record with these fields is of this format."""
    samples: Read
    needs_tokenizer: bool = True
    prepared: Callable[[list[Path], Sequence[str] | None], tuple[Read, dict[str, Any]]] | None = None
    """Where one record alone does not say what its fields mean: looks at all files, and at the reward columns a
    person names; gives ``samples`` for them, and what run.json's config says of it"""

    def read(
        self,
        path: Path,
        on_bytes: Callable[[float], None] | None = None,
        on_left_out: Callable[[str], None] | None = None,
    ) -> Iterator[Sample | Trajectory]:
        """The rollouts of one file, streamed; ``on_left_out`` is told of what is left out.

        Raises ActFocusError with the line of what is wrong.
        """
        rows = read_rows if data_suffix(path) == ".parquet" else read_lines
        for record in rows(path, on_bytes):
            for one in self.samples(record, path):
                if not isinstance(one, LeftOut):
                    yield one
                elif on_left_out:
                    on_left_out(one.what)

    def prepare(self, files: list[Path], reward_columns: Sequence[str] | None = None) -> tuple[Format, dict[str, Any]]:
        """This format as it reads these files, and what run.json's config says of that.

        Raises ActFocusError for reward columns that are not there, or where the format has none to choose from.
        """
        if self.prepared is None:
            if reward_columns is not None:
                raise ActFocusError(
                    f"{files[0]}: {self.title} says what the reward is; --reward-columns is for "
                    f"{', '.join(f.title for f in FORMATS.values() if f.prepared)}"
                )
            return self, {}
        samples, config = self.prepared(files, reward_columns)
        return replace(self, samples=samples), config


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        # The first that fits is taken: the more particular ones stand first.
        Format("jsonl", "ActFocus JSONL", LINES, own.looks, own.trajectories, needs_tokenizer=False),
        Format("parquet", "ActFocus Parquet", (".parquet",), own.looks, own.trajectories, needs_tokenizer=False),
        Format("prime-rl", "prime-rl token export", LINES, prime_rl.looks, prime_rl.samples),
        Format("verifiers", "verifiers traces or results", LINES, verifiers.looks, verifiers.samples),
        Format("ragen", "RAGEN evaluation", LINES, ragen.looks, ragen.samples),
        Format("areal", "AReaL rollout dump", LINES, areal.looks, areal.samples),
        Format("verl", "verl rollout_data_dir", LINES, verl.looks, verl.samples),
        Format("skyrl", "SkyRL evaluation dump", LINES, skyrl.looks, skyrl.samples),
        Format("trl", "TRL completions", (".parquet",), trl.looks, trl.samples, prepared=trl.prepared),
        Format("chat", "chat JSONL", (*LINES, ".parquet"), chat.looks, chat.samples),
    )
}


def get_format(name: str) -> Format:
    """A format by its name. Raises ActFocusError for an unknown one."""
    if name not in FORMATS:
        raise ActFocusError(f"unknown format {name!r}; there are auto, {', '.join(FORMATS)}")
    return FORMATS[name]


def recognise(path: str | Path) -> Format:
    """The format of a file, or of the first file of a folder that has one.

    Reads one record. Raises ActFocusError where there is none, naming what was found.
    """
    files = data_files(Path(path))
    for file in files:
        fields = _first(file)
        for format in FORMATS.values():
            if data_suffix(file) in format.suffixes and format.looks(fields):
                return format
    shown = ", ".join(sorted(fields)[:8]) or "none"
    raise ActFocusError(
        f"{files[-1]}: not a format that is known (its fields: {shown}); there are "
        f'{", ".join(FORMATS)}; name one, or write {{"messages": [...], "reward": ...}} lines'
    )


def data_files(path: Path, format: Format | None = None) -> list[Path]:
    """The file itself, or a folder's data files (of one format) with numbers in their order.

    Raises ActFocusError for a pickle, or where there is nothing to read.
    """
    if not path.exists():
        raise ActFocusError(f"{path}: no such file or folder")
    if path.is_file():
        refuse_pickle(path)
        suffixes = format.suffixes if format else (*LINES, ".parquet")
        if data_suffix(path) not in suffixes:
            raise ActFocusError(
                f"{path}: is a {data_suffix(path) or 'nameless'} file; "
                f"{format.title if format else 'rollouts'} are read from {', '.join(suffixes)}, "
                "also with .gz or .zst behind it"
            )
        return [path]
    inside = sorted((f for f in path.rglob("*") if f.is_file() and not _is_hidden(f.relative_to(path))), key=_natural)
    known = [
        f
        for f in inside
        if data_suffix(f) in ((*LINES, ".parquet") if format is None else format.suffixes)
        and f.name not in ("metadata.json", "config.json")
        and not _is_document(f)
    ]
    if format and path.is_dir():
        known = [f for f in known if format.looks(_first(f))]
    if not known:
        for file in inside:
            if data_suffix(file) in PICKLES:
                refuse_pickle(file)
        raise ActFocusError(
            f"{path}: holds no file of {format.title if format else 'rollouts'}; there must be "
            f"{', '.join(format.suffixes if format else (*LINES, '.parquet'))} files in it"
        )
    return known


def _is_hidden(inside: Path) -> bool:
    return any(part.startswith(".") for part in inside.parts)


def _is_document(file: Path) -> bool:
    """Whether a file beside the rollouts is one JSON document over many lines, as settings are written."""
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
    """Sorts 2.jsonl before 10.jsonl."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", str(path))]
