"""Reading of JSON lines and Parquet rows from other programs, with getters that report invalid fields."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actfocus_core.errors import ActFocusError

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
PICKLES = {
    ".pkl": "a pickle",
    ".pickle": "a pickle",
    ".pt": "a torch pickle",
    ".pth": "a torch pickle",
    ".bin": "a binary dump",
    ".npy": "a NumPy dump",
    ".npz": "a NumPy dump",
}
LONGEST_LINE = 1 << 28
"""Maximum length of a line in bytes; two copies of it must fit in memory."""
NESTING_MAX = 100
"""Maximum nesting of lists and objects in a line; later readers have less of the stack left than the parser."""
BATCH_ROWS, BATCH_VALUES = 64, 4_000_000
"""Maximum number of rows of a Parquet file in memory at once, and approximate maximum number of values."""
_REQUIRED: Any = object()
D = TypeVar("D")
"""The default that a getter returns for a missing field."""


def data_suffix(path: Path) -> str:
    """The file's suffix in lower case, without the suffix of a compression."""
    path = Path(path.name.lower())
    return Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix


def refuse_pickle(path: Path) -> None:
    """Raise ActFocusError for a pickle, because loading one can execute arbitrary code."""
    suffix = data_suffix(path)
    if suffix in PICKLES:
        raise ActFocusError(
            f"{path}: {PICKLES[suffix]}, which is never loaded because it can run code; in the program that wrote it, "
            'write each rollout as a line of JSON {"messages": [...], "reward": ...} (for a verl DataProto: decode '
            "batch['responses'], or set trainer.rollout_data_dir) and import that file"
        )


@dataclass(frozen=True)
class Record:
    """One JSON object or table row with its location.

    Getters raise ActFocusError for a missing field without a default and for an invalid value.
    """

    value: dict[str, Any]
    where: str
    """Its location, for instance ``FILE, line 3``"""

    def __contains__(self, name: str) -> bool:
        return self.value.get(name) is not None

    def error(self, field: str, what: str) -> ActFocusError:
        return ActFocusError(f"{self.where}: {field} {what}")

    def get(self, name: str, kinds: type | tuple[type, ...], what: str, default: object = _REQUIRED) -> Any:
        """The field if it is an instance of ``kinds``; ``what`` describes a valid value."""
        value = self.value.get(name)
        if value is None:
            if default is _REQUIRED:
                raise self.error(repr(name), f"is missing; it must be {what}")
            return default
        allowed = kinds if isinstance(kinds, tuple) else (kinds,)
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise self.error(repr(name), f"is {_shown(value)}; it must be {what}")
        return value

    def text(self, name: str, default: D = _REQUIRED) -> str | D:
        value: str | D = self.get(name, str, "a string", default)
        return check_text(value, f"{self.where}: {name!r}") if isinstance(value, str) else value

    def key(self, name: str, default: D = _REQUIRED) -> str | D:
        """A string, or an integer as a string."""
        value = self.get(name, (str, int), "a string or an integer", default)
        return default if value is default else check_text(str(value), f"{self.where}: {name!r}")

    def number(self, name: str, default: D = _REQUIRED) -> float | D:
        value = self.get(name, (int, float), "a number", default)
        try:
            return default if value is default else float(value)
        except OverflowError:
            raise self.error(repr(name), "is too large a number; it must fit in a float64") from None

    def integer(self, name: str, default: D = _REQUIRED, low: int = 0, high: int = 2**31 - 1) -> int | D:
        value: int | D = self.get(name, int, "an integer", default)
        if value is not default and isinstance(value, int) and not low <= value <= high:
            raise self.error(repr(name), f"is {_shown(value)}; it must be in [{low}, {high}]")
        return value

    def flag(self, name: str, default: D = _REQUIRED) -> bool | D:
        value: bool | D = self.get(name, bool, "true or false", default)
        return value

    def record(self, name: str, default: D = _REQUIRED) -> Record | D:
        value = self.get(name, dict, "an object", default)
        return default if value is default else Record(value, f"{self.where}: {name!r}")

    def records(self, name: str) -> list[Record]:
        items = self.get(name, list, "a list of objects")
        for number, item in enumerate(items):
            if not isinstance(item, dict):
                raise self.error(f"{name!r}[{number}]", f"is {_shown(item)}; it must be an object")
        return [Record(item, f"{self.where}: {name!r}[{number}]") for number, item in enumerate(items)]

    def ids(self, name: str) -> np.ndarray:
        """int32 [n], token ids."""
        values = self.items(name, {int}, "integers")
        return self.within(name, values, 0, 2**31 - 1).astype(np.int32)

    def mask(self, name: str, length: int) -> np.ndarray:
        """bool [length], from booleans or zeros and ones."""
        values = self.items(name, {bool, int, float}, "zeros and ones", length)
        return self.within(name, values, 0, 1, {0, 1}).astype(bool)

    def floats(self, name: str, length: int) -> np.ndarray:
        """float32 [length], NaN for null."""
        values = self.items(name, {int, float, type(None)}, "numbers", length)
        try:
            with np.errstate(over="ignore"):
                return np.array(values, np.float64).astype(np.float32)
        except OverflowError:
            raise self.error(repr(name), "contains too large a number; it must fit in a float32") from None

    def items(self, name: str, kinds: set[type], what: str, length: int | None = None) -> list[Any]:
        """A list whose items are of exactly these types; ``length``: the required number of items, one per token."""
        field = self.get(name, (list, np.ndarray), f"a list of {what}")
        values: list[Any] = field.tolist() if isinstance(field, np.ndarray) else field
        if not set(map(type, values)) <= kinds:
            wrong = next(i for i, v in enumerate(values) if type(v) not in kinds)
            raise self.error(f"{name!r}[{wrong}]", f"is {_shown(values[wrong])}; the list must contain {what}")
        if length is not None and len(values) != length:
            raise self.error(repr(name), f"has {len(values)} values; it must have {length}, one per token")
        return values

    def within(self, name: str, values: list[Any], low: int, high: int, allowed: set[int] | None = None) -> np.ndarray:
        """The values as int64 [n]. Raises ActFocusError unless all are in [low, high] and in ``allowed`` if given."""
        if values and not (low <= min(values) and max(values) <= high and (not allowed or set(values) <= allowed)):
            wrong = next(i for i, v in enumerate(values) if not low <= v <= high or (allowed and v not in allowed))
            raise self.error(f"{name!r}[{wrong}]", f"is {_shown(values[wrong])}; it must be in [{low}, {high}]")
        return np.array(values, np.int64)


def check_text(text: str, where: str) -> str:
    """Return the text. Raises ActFocusError for an unpaired surrogate, which UTF-8 cannot encode."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ActFocusError(f"{where} contains half of a surrogate pair; it must be valid UTF-8 text") from None
    return text


def _shown(value: object) -> str:
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) > 1 << 64:
        return "a number of more than 64 bits"
    shown = json.dumps(value, default=repr)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."


def read_lines(path: Path, on_bytes: Callable[[float], None] | None = None) -> Iterator[Record]:
    """Yield the objects of a JSON-lines file, which may be compressed; empty lines are skipped.

    ``on_bytes(count)`` receives the number of bytes read since its last call. Raises ActFocusError with the line number
    for a line that is not one JSON object.
    """
    number = 0
    try:
        with open(path, "rb") as raw, unpacked(raw, path) as stream:
            seen = 0
            while line := stream.readline(LONGEST_LINE):
                number += 1
                if len(line) == LONGEST_LINE:
                    raise ActFocusError(
                        f"{path}, line {number}: is longer than {LONGEST_LINE >> 20} MiB; a line must be one rollout"
                    )
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip():
                    yield _parsed(line, f"{path}, line {number}")
                if on_bytes:
                    position = raw.tell()
                    on_bytes(position - seen)
                    seen = position
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ActFocusError(f"{path}: not readable after line {number} ({reason}); is the file complete?") from None


def unpacked(raw: BinaryIO, path: Path) -> BinaryIO:
    """The stream of the file's decompressed bytes."""
    compression = COMPRESSIONS.get(path.suffix.lower())
    return io.BufferedReader(pa.CompressedInputStream(raw, compression), 1 << 20) if compression else raw


def _parsed(line: bytes, where: str) -> Record:
    try:
        value = json.loads(line)
    except RecursionError:
        raise ActFocusError(f"{where}: is nested too deep; it must be one flat JSON object") from None
    except UnicodeDecodeError as error:
        raise ActFocusError(f"{where}: not UTF-8 at byte {error.start}; the file must be UTF-8") from None
    except ValueError as error:
        raise ActFocusError(f"{where}: not JSON ({error}); every line must be one JSON object") from None
    if line.count(b"[") + line.count(b"{") > NESTING_MAX and is_deep(value):
        raise ActFocusError(f"{where}: is nested too deep; it must be one flat JSON object")
    if not isinstance(value, dict):
        raise ActFocusError(f"{where}: is {_shown(value)}; every line must be one JSON object")
    return Record(value, where)


def is_deep(value: object) -> bool:
    """Whether lists and objects are nested more than NESTING_MAX levels deep."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(NESTING_MAX):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a Parquet file. Raises ActFocusError if it is not readable."""
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise ActFocusError(f"{path}: not readable as Parquet ({str(error).splitlines()[0]})") from None


def read_rows(
    path: Path, on_bytes: Callable[[float], None] | None = None, columns: list[str] | None = None
) -> Iterator[Record]:
    """Yield the rows of a Parquet file with all or the given columns, read in batches that are smaller for long rows.

    ``on_bytes(count)`` receives the approximate number of bytes read since its last call. Raises ActFocusError if the file
    is not readable.
    """
    file, number = open_parquet(path), 0
    size, total = path.stat().st_size, max(file.metadata.num_rows, 1)
    batches = file.iter_batches(
        max(1, min(BATCH_ROWS, BATCH_VALUES * total // max(values_in(file), 1))), columns=columns
    )
    while (batch := next_batch(batches, path)) is not None:
        for value in batch.to_pylist():
            number += 1
            yield Record(value, f"{path}, row {number}")
        if on_bytes:
            on_bytes(size * batch.num_rows / total)


def values_in(file: pq.ParquetFile) -> int:
    """Number of values in all columns according to the metadata; the file size is no bound, as lists compress well."""
    metadata = file.metadata
    groups = (metadata.row_group(n) for n in range(metadata.num_row_groups))
    return sum(group.column(k).num_values for group in groups for k in range(group.num_columns))


def next_batch(batches: Iterator[pa.RecordBatch], path: Path) -> pa.RecordBatch | None:
    """The next batch of a Parquet file; None at its end."""
    try:
        return next(batches, None)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise ActFocusError(f"{path}: not readable as Parquet ({str(error).splitlines()[0]})") from None
