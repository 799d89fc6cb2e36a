"""Inspect's ``.eval`` archives: zip files of JSON, one member per sample, which are read one at a time.

Only an archive whose header is that of an Inspect log is read; any other zip may hold a pickle. Names of members are no
paths here: nothing is extracted. Sizes are bounded, whatever the archive states. Members are stored, deflated, or
compressed with zstd, which Python reads only since version 3.14; so they are decompressed here.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading.compression import READ_ERRORS, reason
from actfocus_core.interop.reading.record import NESTING_MAX, Record, is_deep, shown

LARGEST_MEMBER, LARGEST_HEADER = 1 << 28, 1 << 26
"""Maximum number of decompressed bytes of a sample, and of the header"""
LARGEST_DIRECTORY = 1 << 25
"""Maximum number of bytes of the archive's list of members, which is in memory as a whole"""
MEMBERS_REFUSED = "samples of archives that cannot be read"
START = b"PK\x03\x04"
_ZSTD = 93
_TAIL = (1 << 16) + 128
"""In which the end records of a zip file begin, which may be followed by a comment"""
_BLOCK = 1 << 20
_HEADERS = ("header.json", "_journal/start.json")
_LOCAL = struct.Struct("<4s5H3I2H")
_SAMPLE = re.compile(r"samples/.*\.json", re.S)
_ERRORS = (*READ_ERRORS, zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RecursionError, struct.error)


def is_inspect(path: Path) -> bool:
    """Whether a zip file is an Inspect log, by its header; all errors mean that it is not."""
    try:
        with path.open("rb") as file:
            _header(file, _members(file))
    except (ActFocusError, *_ERRORS):
        return False
    return True


def stated_size(path: Path) -> tuple[int, int]:
    """The number of samples of an Inspect archive and of the bytes to which they unpack, as it states; never are more bytes
    unpacked. Raises ActFocusError if the file is not such an archive."""
    try:
        with path.open("rb") as file:
            members = _members(file)
    except _ERRORS as error:
        raise ActFocusError(f"{path}: not readable as an Inspect log ({reason(error)})") from None
    samples = [info for name, info in members.items() if _SAMPLE.fullmatch(name)]
    return len(samples), sum(info.file_size for info in samples)


def read_archive(path: Path, omissions: Omissions, on_bytes: Callable[[float], None] | None = None) -> Iterator[Record]:
    """Yield each sample of an Inspect archive as a log that holds only this sample.

    A sample that cannot be read is counted in ``omissions``. ``on_bytes(count)`` receives the number of bytes read
    since its last call. Raises ActFocusError if the file is not such an archive.
    """
    try:
        with path.open("rb") as file:
            members = _members(file)
            header = _header(file, members)
            names = [name for name in members if _SAMPLE.fullmatch(name)]
            for number, name in enumerate(names, 1):
                where = f"{path}, sample {number}"
                try:
                    sample = _json(file, members[name], LARGEST_MEMBER)
                except _ERRORS as error:
                    refusal = ActFocusError(f"{where}: not readable ({reason(error)}); is the file complete?")
                    omissions.refuse(MEMBERS_REFUSED, refusal)
                    continue
                yield Record({**header, "samples": [sample]}, where)
                if on_bytes:
                    on_bytes(members[name].compress_size)
            if not names:
                yield Record(header, str(path))
    except _ERRORS as error:
        raise ActFocusError(f"{path}: not readable as an Inspect log ({reason(error)})") from None


def _members(file: io.BufferedReader) -> dict[str, zipfile.ZipInfo]:
    """Name -> the member, the last one if several have this name, as Inspect reads it."""
    if _directory_size(file) > LARGEST_DIRECTORY:
        raise ValueError("it has too many members")
    with zipfile.ZipFile(file) as archive:
        return {info.filename: info for info in archive.infolist()}


def _directory_size(file: io.BufferedReader) -> int:
    """The number of bytes of the list of members, which a zip file states at its end."""
    file.seek(max(0, file.seek(0, io.SEEK_END) - _TAIL))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0:
        raise ValueError("it has no list of members")
    size: int = struct.unpack_from("<I", tail, at + 12)[0]
    if size == 0xFFFFFFFF and (at := tail.rfind(b"PK\x06\x06")) >= 0:
        size = struct.unpack_from("<Q", tail, at + 40)[0]
    return size


def _header(file: io.BufferedReader, members: dict[str, zipfile.ZipInfo]) -> dict[str, Any]:
    """The header of a finished log, or the start of one that was not finished."""
    name = next((name for name in _HEADERS if name in members), None)
    header = _json(file, members[name], LARGEST_HEADER) if name else {}
    evaluation = header.get("eval")
    if not isinstance(header.get("version"), int) or not isinstance(evaluation, dict) or "task" not in evaluation:
        raise ValueError("it has no header of an Inspect log")
    return {"version": header["version"], "status": header.get("status", "started"), "eval": evaluation}


def _json(file: io.BufferedReader, info: zipfile.ZipInfo, largest: int) -> dict[str, Any]:
    content = _content(file, info, largest)
    value = json.loads(content.decode("utf-8"))
    if content.count(b"[") + content.count(b"{") > NESTING_MAX and is_deep(value):
        raise ValueError("it is nested too deep")
    if not isinstance(value, dict):
        raise ValueError(f"it is {shown(value)} and no object")
    return value


def _content(file: io.BufferedReader, info: zipfile.ZipInfo, largest: int) -> bytes:
    """The decompressed bytes of a member, at most ``largest``."""
    file.seek(info.header_offset)
    start = file.read(_LOCAL.size)
    fields = _LOCAL.unpack(start)
    if fields[0] != START or info.flag_bits & 1:
        raise ValueError("a member is damaged or encrypted")
    file.seek(info.header_offset + _LOCAL.size + fields[-2] + fields[-1])
    if max(info.compress_size, info.file_size) > largest:
        raise ValueError(f"a member is larger than {largest >> 20} MiB")
    raw = file.read(info.compress_size)
    content = _decompressed(raw, info.compress_type, info.file_size)
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise ValueError("a member is damaged")
    return content


def _decompressed(raw: bytes, method: int, largest: int) -> bytes:
    """At most ``largest`` + 1 decompressed bytes."""
    if method == zipfile.ZIP_STORED:
        return raw
    if method == zipfile.ZIP_DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, largest + 1)
    if method == _ZSTD:
        stream, content = pa.CompressedInputStream(pa.BufferReader(raw), "zstd"), bytearray()
        while len(content) <= largest and (block := stream.read(_BLOCK)):
            content += block
        return bytes(content)
    raise NotImplementedError(f"a member is compressed with method {method}")
