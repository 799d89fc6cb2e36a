"""Records of JSON files: lines, arrays, and objects over several lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading.compression import READ_ERRORS, Source, is_cut, opened, reason
from actfocus_core.interop.reading.content import BLANK, BOM
from actfocus_core.interop.reading.json_text import BadText, JsonText, TooLong, Unfinished, is_unfinished
from actfocus_core.interop.reading.record import NESTING_MAX, Record, is_deep, shown

LONGEST_LINE = 1 << 28
"""Maximum length of a line, or of an item of an array; two copies of it must fit in memory."""
LINES_REFUSED = "lines that are not JSON objects"
LAST_LINES = "last lines that are not complete (still being written?)"
ITEMS_REFUSED = "items that are not JSON objects"
ENDS = "files that are not complete (still being written?)"
RESTS = "files of which the rest is not JSON"
DAMAGED = "damaged files, of which what was read may be wrong"


def read_json(path: Path, omissions: Omissions, on_bytes: Callable[[float], None] | None = None) -> Iterator[Record]:
    """Yield the objects of a JSON file, which may be compressed, with memory use independent of its size.

    What cannot be read is counted in ``omissions``. ``on_bytes(count)`` receives the number of bytes read since its
    last call. Raises ActFocusError if the file cannot be opened.
    """
    read = _read_lines if layout(path) == "lines" else _read_values
    with opened(path, on_bytes) as source:
        yield from read(path, source, omissions)


def layout(path: Path, longest: int = LONGEST_LINE) -> Literal["lines", "values"]:
    """Whether a JSON file has one object per line, or is an array, or consists of objects over several lines.

    A damaged first line does not make a file of lines a document. ``longest``: maximum length of a line, or of an item
    of an array. Raises ActFocusError if the file cannot be opened.
    """
    with opened(path) as source:
        text = JsonText(source.stream, longest)
        first, line = text.next(), text.line
        if first == "[":
            text.expect("[")
            # A line that begins with a list of anything but objects may stand in a file of lines.
            return "values" if text.next() in ("{", "]", "") or text.line > line else "lines"
        if first != "{":
            return "lines"
        try:
            value = text.value()
        except (BadText, RecursionError) as error:
            is_first_bad = type(error) is BadText and error.line == line
            return "lines" if is_first_bad or _second_line(path, longest)[:1] in (b"{", b"") else "values"
        return "values" if value.line_breaks or (text.next() == "{" and text.line == line) else "lines"


def _second_line(path: Path, longest: int) -> bytes:
    """The second line that is not blank; empty if there is none."""
    with opened(path) as source:
        try:
            found = (line for _, line, _ in _lines(source.stream, longest) if line.strip(BLANK))
            next(found, b"")
            return next(found, b"")
        except READ_ERRORS:
            return b""


# --- lines --------------------------------------------------------------------------------


class _UnfinishedLine(ActFocusError):
    """The line is a correct beginning of a JSON object."""


def _lines(stream: BufferedReader[Any], longest: int) -> Iterator[tuple[int, bytes, bool]]:
    """Yield each line's number from 1, its text, and whether that is only its beginning because it is too long."""
    number = 0
    while text := stream.readline(longest):
        number += 1
        is_cut = len(text) == longest and text[-1:] != b"\n"
        yield number, text.removeprefix(BOM) if number == 1 else text, is_cut
        while is_cut and (rest := stream.readline(1 << 20)):
            is_cut = rest[-1:] != b"\n"


def _read_lines(path: Path, source: Source, omissions: Omissions) -> Iterator[Record]:
    number = 0
    try:
        for number, line, is_cut in _lines(source.stream, LONGEST_LINE):
            if line.strip():
                where = f"{path}, line {number}"
                try:
                    if is_cut:
                        raise ActFocusError(
                            f"{where}: is longer than {LONGEST_LINE >> 20} MiB; a line must be one rollout"
                        )
                    record = Record(_parsed(line, where), where)
                except ActFocusError as error:
                    is_last = isinstance(error, _UnfinishedLine) and line[-1:] != b"\n"
                    omissions.refuse(LAST_LINES if is_last else LINES_REFUSED, error)
                else:
                    yield record
                    del record  # two long records need not fit in memory at once
            source.report()
    except READ_ERRORS as error:
        _refuse_rest(path, f"line {number}", error, omissions)


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line.decode())
    except RecursionError:
        raise ActFocusError(f"{where}: is nested too deep; it must be one flat JSON object") from None
    except UnicodeDecodeError as error:
        raise ActFocusError(f"{where}: not UTF-8 at byte {error.start}; the file must be UTF-8") from None
    except json.JSONDecodeError as error:
        kind = _UnfinishedLine if is_unfinished(error) else ActFocusError
        told = f"not JSON ({error.msg}, at character {error.pos + 1}); every line must be one JSON object"
        raise kind(f"{where}: {told}") from None
    except ValueError as error:
        # An integer of too many digits.
        raise ActFocusError(
            f"{where}: not JSON ({str(error).split(';')[0]}); every line must be one JSON object"
        ) from None
    if line.count(b"[") + line.count(b"{") > NESTING_MAX and is_deep(value):
        raise ActFocusError(f"{where}: is nested too deep; it must be one flat JSON object")
    if not isinstance(value, dict):
        raise ActFocusError(f"{where}: is {shown(value)}; every line must be one JSON object")
    return value


# --- arrays and objects over several lines --------------------------------------------------


def _read_values(path: Path, source: Source, omissions: Omissions) -> Iterator[Record]:
    text, number = JsonText(source.stream, LONGEST_LINE), 0
    is_object = text.next() == "{"
    try:
        for value in text.values():
            number += 1
            is_alone = number == 1 and is_object and not text.next()
            where = str(path) if is_alone else f"{path}, item {number}"
            if value.problem:
                omissions.refuse(ITEMS_REFUSED, ActFocusError(f"{where}: {value.problem}"))
            elif not isinstance(value.value, dict):
                omissions.refuse(
                    ITEMS_REFUSED, ActFocusError(f"{where}: is {shown(value.value)}; it must be an object")
                )
            else:
                yield Record(value.value, where)
            source.report()
    except RecursionError:
        omissions.refuse(
            RESTS, ActFocusError(f"{path}, item {number + 1}: is nested too deep; the rest of the file is not read")
        )
    except BadText as error:
        if text.error is None:
            _refuse_text(path, number, error, omissions)
    if text.error is not None:
        _refuse_rest(path, f"item {number}", text.error, omissions)
    source.report()


def _refuse_text(path: Path, number: int, error: BadText, omissions: Omissions) -> None:
    if isinstance(error, Unfinished):
        told = f"{path}: ends inside a JSON document, after {number} complete items ({error}); is the file complete?"
        omissions.refuse(ENDS, ActFocusError(told))
    else:
        problem = str(error) if isinstance(error, TooLong) else f"not JSON ({error})"
        told = f"{path}, item {number + 1}: {problem}; the rest of the file is not read"
        omissions.refuse(RESTS, ActFocusError(told))


def _refuse_rest(path: Path, last: str, error: BaseException, omissions: Omissions) -> None:
    """Count a file that cannot be read after its line or item ``last``."""
    kind, hint = (ENDS, "is the file complete?") if is_cut(error) else (DAMAGED, "what was read before may be wrong")
    omissions.refuse(kind, ActFocusError(f"{path}: not readable after {last} ({reason(error)}); {hint}"))
