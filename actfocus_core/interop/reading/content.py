"""``sniff``: what a file contains, by its first bytes; its name only decides whether it is refused as a pickle."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.reading.archives import START as ZIP
from actfocus_core.interop.reading.archives import is_inspect
from actfocus_core.interop.reading.compression import COMPRESSIONS, READ_ERRORS, compression_of, is_cut, opened, reason

Content = Literal["json", "parquet", "inspect", "empty"]
LINES = (".jsonl", ".ndjson", ".json")
DATA = (*LINES, ".parquet", ".eval")
"""Usual suffixes of rollouts"""
PICKLES = {
    ".pkl": "a pickle",
    ".pickle": "a pickle",
    ".pt": "a torch pickle",
    ".pth": "a torch pickle",
    ".bin": "a binary dump",
    ".npy": "a NumPy dump",
    ".npz": "a NumPy dump",
}
BOM = b"\xef\xbb\xbf"
"""UTF-8's byte order mark, which some editors write"""
BLANK = b" \t\r\n"
_HEAD = 1 << 12
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_UTF16 = (b"\xff\xfe", b"\xfe\xff", b"{\x00", b"[\x00", b"\x00{", b"\x00[")


class NeverLoaded(ActFocusError):
    """A pickle or another dump; ``interop/convert_dump.py.txt`` converts the common ones where they were made."""


def data_suffix(path: Path) -> str:
    """The file's suffix in lower case, without the suffix of a compression."""
    path = Path(path.name.lower())
    return Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix


def refuse_pickle(path: Path) -> None:
    """Raise ActFocusError for a file with the suffix of a pickle, because loading one can execute arbitrary code."""
    suffix = data_suffix(path)
    if suffix in PICKLES:
        raise _never_loaded(path, PICKLES[suffix])


def sniff(path: Path) -> Content:
    """What a file contains: JSON, Parquet, an archive of an Inspect log, or nothing but blanks.

    Raises ActFocusError for a pickle, another archive, UTF-16 and whatever else cannot be read. A file of LINES is JSON
    whatever it begins with, because its first line may be damaged.
    """
    refuse_pickle(path)
    try:
        with opened(path) as source:
            compressed = source.stream is not source.raw
            start = head = source.stream.read1(_HEAD)
            head = head.removeprefix(BOM).lstrip(BLANK)
            while not head and (more := source.stream.read1(_HEAD)):
                head = more.lstrip(BLANK)
    except READ_ERRORS as error:
        state = "complete" if is_cut(error) else "damaged"
        raise ActFocusError(f"{path}: not readable ({reason(error)}); is the file {state}?") from None
    if start.startswith(ZIP) and not compressed and is_inspect(path):
        return "inspect"
    _refuse_start(path, start)
    if compression_of(start[:4]):
        raise ActFocusError(f"{path}: is compressed twice; decompress it once")
    if start.startswith(b"PAR1"):
        if compressed:
            raise ActFocusError(f"{path}: is compressed Parquet; decompress it, since Parquet is compressed inside")
        return "parquet"
    if not head:
        return "empty"
    suffix = data_suffix(path)
    if suffix == ".parquet" and head[:1] not in (b"{", b"["):
        raise ActFocusError(f"{path}: not readable as Parquet (it does not begin with PAR1)")
    if suffix in LINES or head[:1] in (b"{", b"["):
        return "json"
    raise ActFocusError(
        f"{path}: is neither JSON nor Parquet (it begins with {_quoted(head)}); rollouts are read from lines, arrays "
        "or objects of JSON, or from Parquet, optionally compressed with gzip or zstd"
    )


def is_empty(path: Path) -> ActFocusError:
    """The error for a file that contains nothing."""
    return ActFocusError(f"{path}: is empty; no rollout was written to it")


def _refuse_start(path: Path, start: bytes) -> None:
    if _PICKLE.match(start):
        raise _never_loaded(path, "a pickle")
    if start.startswith(b"\x93NUMPY"):
        raise _never_loaded(path, "a NumPy dump")
    if start.startswith(b"SQLite format 3\x00"):
        raise ActFocusError(
            f"{path}: is an SQLite database, which is not read; traces in trackio's are exported with "
            "SQLiteStorage.export_for_static_space(PROJECT, Path(FOLDER)) of trackio.sqlite_storage, which writes "
            "FOLDER/aux/traces.parquet, and those of tinker-cookbook's capture store with JsonlFileSink"
        )
    if start.startswith(ZIP):
        raise _never_loaded(path, "a zip archive, as torch.save and NumPy write them")
    if start.startswith(_UTF16):
        raise ActFocusError(f"{path}: is UTF-16 text; it must be UTF-8 (iconv -f UTF-16 -t UTF-8 converts it)")


def _never_loaded(path: Path, what: str) -> NeverLoaded:
    return NeverLoaded(
        f"{path}: {what}, which is never loaded because it can run code; `actfocus import auto FILE` prints a script that turns "
        "dumps of slime, SkyRL and verl into JSON lines: run it where the file was made, and import what it writes; from other "
        'programs, write each rollout as a line {"messages": [...], "reward": ...}'
    )


def _quoted(head: bytes) -> str:
    return repr(head[:12].decode("utf-8", "backslashreplace"))
