"""Uploads and downloads, independent of Gradio's own services, which are refused.

A ticket is an address that nobody can guess. The page gets one by an event, behind the login where
there is one, and it is good for one file: so no other page can fill the disk or read an export.
Files lie in a temporary folder of this process that goes with it.
"""

from __future__ import annotations

import re
import secrets
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.reading.archives import stated_size
from actfocus_core.interop.reading.compression import COMPRESSIONS, READ_ERRORS, opened
from actfocus_core.interop.reading.content import DATA, data_suffix, refuse_pickle, sniff
from actfocus_core.interop.reading.json_files import layout
from actfocus_core.interop.reading.json_text import BadText, JsonText, TooLong
from actfocus_core.interop.reading.tables import open_parquet, values_in
from actfocus_core.runs import slug

RECEIVE, SEND = "/studio/receive/", "/studio/send/"
UPLOAD_MAX = 256 << 20
"""Bytes of a file."""
UNPACKED_MAX = 1 << 30
"""Bytes of its decompressed content."""
ROLLOUTS_MAX = 100_000
TOKENS_MAX = 200_000
"""Of one rollout: a page draws every one of them."""
VALUES_MAX = 1 << 28
"""Of a Parquet file; many equal ones take next to no bytes in it."""
LINE_MAX = 16 << 20
"""Bytes of one line: as JSON in memory it is many times as much."""
NAME_MAX = 120
"""Characters of a file name."""
KEPT = 4
"""Files kept per direction; one more replaces the oldest."""
ELSEWHERE = "give it to the command: `actfocus app FILE`"


@dataclass
class Transfer:
    """An announced upload or an offered download."""

    path: Path
    size: int


class Transfers:
    """Tickets of uploads and downloads, and their files."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="actfocus-")
        self._kept: dict[str, OrderedDict[str, Transfer]] = {RECEIVE: OrderedDict(), SEND: OrderedDict()}
        self._lent: dict[str, Path] = {}

    def announce(self, name: object, size: object) -> str:
        """A ticket for an upload. Raises ActFocusError for a file that could not be imported."""
        if not isinstance(name, str) or type(size) is not int or size < 0:
            raise ActFocusError("the file could not be read; choose it again")
        stem, _, suffix = re.split(r"[/\\]", name)[-1].partition(".")
        path = Path(f"{_plain(stem)[:80] or 'rollouts'}.{_plain(suffix)[-20:]}")
        refuse_pickle(path)
        if data_suffix(path) not in DATA:
            raise ActFocusError(
                f"{path}: is not a file of rollouts; they are read from {', '.join(DATA)}, "
                f"also with {' or '.join(COMPRESSIONS)} behind it"
            )
        if size > UPLOAD_MAX:
            raise ActFocusError(f"{path}: has {size >> 20} MiB, and a page takes {UPLOAD_MAX >> 20}; {ELSEWHERE}")
        return self._add(RECEIVE, path.name, size)

    def offer(self, name: str) -> tuple[str, Path]:
        """A ticket for a download, and the path to write it to."""
        ticket = self._add(SEND, slug(slug(name)[-NAME_MAX:]), 0)
        return ticket, self._kept[SEND][ticket].path

    def lend(self, path: Path) -> str:
        """A ticket for a file or folder of this machine, which the command line named."""
        ticket = secrets.token_urlsafe(24)
        self._lent[ticket] = path.resolve()
        return ticket

    def is_lent(self, ticket: str) -> bool:
        return ticket in self._lent

    def received(self, ticket: object) -> Path:
        """The completely received file of a ticket. Raises ActFocusError if there is none."""
        if isinstance(ticket, str) and ticket in self._lent:
            return self._lent[ticket]
        found = self._kept[RECEIVE].get(ticket) if isinstance(ticket, str) else None
        if found is None or not found.path.is_file() or found.path.stat().st_size != found.size:
            raise ActFocusError("the file is no longer available; choose it again")
        return found.path

    def drop(self, ticket: str) -> None:
        """Delete a received file."""
        self._remove(RECEIVE, ticket)

    def _add(self, way: str, name: str, size: int) -> str:
        kept, ticket = self._kept[way], secrets.token_urlsafe(24)
        folder = Path(self._folder.name) / ticket
        folder.mkdir()
        kept[ticket] = Transfer(folder / name, size)
        while len(kept) > KEPT:
            self._remove(way, next(iter(kept)))
        return ticket

    def _remove(self, way: str, ticket: str) -> None:
        found = self._kept[way].pop(ticket, None)
        if found:
            for file in found.path.parent.iterdir():
                file.unlink(missing_ok=True)
            found.path.parent.rmdir()

    async def receive(self, request: Request) -> Response:
        """PUT: receive the bytes of an announced file, once."""
        found = self._kept[RECEIVE].get(request.path_params["ticket"])
        if found is None or found.path.exists():
            return PlainTextResponse("no such ticket", 404)
        if request.headers.get("content-length") != str(found.size):
            return PlainTextResponse("another file was announced", 400)
        part = found.path.with_name(".part")
        try:
            with open(part, "xb") as file:
                async for chunk in request.stream():
                    file.write(chunk)
        except FileExistsError:
            return PlainTextResponse("it is on its way already", 409)
        except ClientDisconnect:
            part.unlink(missing_ok=True)
            return PlainTextResponse("it broke off", 400)
        part.rename(found.path)
        return PlainTextResponse("received")

    def send(self, request: Request) -> Response:
        """GET: send an offered file as a download, which the browser does not display."""
        found = self._kept[SEND].get(request.path_params["ticket"])
        if found is None or not found.path.is_file():
            return PlainTextResponse("no such file any more; export it again", 404)
        return FileResponse(found.path, media_type="application/octet-stream", filename=found.path.name)


@lru_cache
def transfers() -> Transfers:
    """The tickets of this process."""
    return Transfers()


def routes() -> list[Route]:
    """The routes that ``launch`` adds to Gradio's."""

    async def receive(request: Request) -> Response:
        return await transfers().receive(request)

    return [
        Route(RECEIVE + "{ticket}", receive, methods=["PUT"]),
        Route(SEND + "{ticket}", lambda request: transfers().send(request)),
    ]


def check(path: Path) -> int:
    """How many rollouts a received file holds at most, without keeping any.

    Raises ActFocusError where it holds more than a page may bring, and where it cannot be read.
    """
    content = sniff(path)
    if content == "parquet":
        return _rows(path)
    if content == "inspect":
        samples, size = stated_size(path)
        _within(path, samples, size)
        return samples
    is_lines = layout(path, LINE_MAX) == "lines"
    lines = _lines(path, is_lines)
    return lines if is_lines else _values(path)


def _plain(part: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip(".-")


def _lines(path: Path, are_rollouts: bool) -> int:
    """The number of lines; only their bytes are limited unless each is a rollout."""
    count = size = 0
    try:
        with opened(path) as source:
            while line := source.stream.readline(LINE_MAX + 1):
                count, size = count + 1, size + len(line)
                if len(line) > LINE_MAX and are_rollouts:
                    raise ActFocusError(
                        f"{path.name}, line {count}: is longer than {LINE_MAX >> 20} MiB; a line holds one rollout"
                    )
                _within(path, count if are_rollouts else 0, size)
    except READ_ERRORS:
        raise ActFocusError(f"{path.name}: cannot be unpacked after line {count}; is the file whole?") from None
    return count


def _values(path: Path) -> int:
    """The number of items of an array, or of objects over several lines."""
    count = 0
    with opened(path) as source:
        try:
            for count, _ in enumerate(JsonText(source.stream, LINE_MAX).values(), 1):
                _within(path, count, 0)
        except TooLong as error:
            raise ActFocusError(f"{path.name}, item {count + 1}: {error}") from None
        except (BadText, RecursionError):
            # The import reads what comes before, and says what is wrong.
            return count
    return count


def _rows(path: Path) -> int:
    file = open_parquet(path)
    about = file.metadata
    # First, since counting the values reads a row of each group.
    _within(path, about.num_rows, sum(about.row_group(n).total_byte_size for n in range(about.num_row_groups)))
    if (values := values_in(file)) > VALUES_MAX:
        raise ActFocusError(f"{path.name}: holds {values} values, and a page takes {VALUES_MAX}; {ELSEWHERE}")
    return about.num_rows


def _within(path: Path, count: int, size: int) -> None:
    if count > ROLLOUTS_MAX:
        raise ActFocusError(f"{path.name}: holds more than {ROLLOUTS_MAX} rollouts, the most a page takes; {ELSEWHERE}")
    if size > UNPACKED_MAX:
        raise ActFocusError(
            f"{path.name}: unpacks to more than {UNPACKED_MAX >> 20} MiB, the most a page takes; {ELSEWHERE}"
        )
