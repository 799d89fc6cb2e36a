"""``read_records``: the records of a file, whatever it contains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading.archives import read_archive
from actfocus_core.interop.reading.content import Content, is_empty, sniff
from actfocus_core.interop.reading.json_files import read_json
from actfocus_core.interop.reading.record import Record
from actfocus_core.interop.reading.tables import open_parquet, read_rows


def read_records(path: Path, omissions: Omissions, on_bytes: Callable[[float], None] | None = None) -> Iterator[Record]:
    """Yield the objects of a JSON file, the rows of a Parquet file, or the samples of an Inspect log; an empty file has none.

    Memory use is independent of the file's size. What cannot be read is counted in ``omissions``. ``on_bytes(count)``
    receives the number of bytes read since its last call. Raises ActFocusError for a file that is neither, and for a
    pickle.
    """
    content = sniff(path)
    if content == "json":
        yield from read_json(path, omissions, on_bytes)
    elif content == "parquet":
        yield from read_rows(path, omissions, on_bytes)
    elif content == "inspect":
        yield from read_archive(path, omissions, on_bytes)


def first_fields(path: Path, content: Content) -> dict[str, Any]:
    """The fields of the first readable record of a file; for Parquet the names of its columns, with None as values.

    ``content``: as ``sniff`` returns it. Raises ActFocusError if there is none.
    """
    omissions = Omissions()
    if content == "parquet":
        return dict.fromkeys(open_parquet(path).schema_arrow.names)
    for record in read_records(path, omissions):
        return record.value
    raise omissions.error or is_empty(path)
