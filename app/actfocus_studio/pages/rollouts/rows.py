"""Rows of the list, for the page and as files."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actfocus_core.listing import Listing
from actfocus_core.listing.query import Query
from actfocus_core.reports.token_html import shown
from actfocus_studio.data import columns
from actfocus_studio.data.columns import Float64Column, TextColumn
from actfocus_studio.data.listings import asked
from actfocus_studio.pages.rollouts.schema import ListErrors, ListRows, ListRowsRequest

UNSAFE = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins with one of these is a formula to a spreadsheet."""


def rows(listing: Listing, request: ListRowsRequest) -> ListRows:
    """Some rows of the list of a view; none where it cannot be answered."""
    view, wanted = request.view, asked(listing, request.view)
    errors = ListErrors(where=wanted.where, search=wanted.search, list=" ".join(wanted.notes))
    nothing = ListRows(
        total=0,
        of=listing.total,
        position=None,
        ids=columns.text([]),
        columns={},
        hits=None,
        tokens=None,
        errors=errors,
        need=wanted.need,
    )
    query = wanted.query
    if query is None:
        return nothing
    searched = query.search is not None
    known = {column.name for column in listing.columns if searched or column.source != "search"}
    names = [name for name in dict.fromkeys([*request.columns, *(["first_hit"] if searched else [])]) if name in known]
    page = listing.page(query, request.offset, request.limit, names)
    return nothing.model_copy(
        update={
            "total": page.total,
            "position": listing.place(query, view.trajectory) if view.trajectory else None,
            "ids": columns.text(page.ids),
            "columns": {name: _column(page.rows[name]) for name in names if name in request.columns and name != "id"},
            "hits": _hits(listing, query) if searched else None,
            "tokens": columns.int32(_numbers(page.rows["first_hit"], -1).astype(np.int64)) if searched else None,
        }
    )


def _hits(listing: Listing, query: Query) -> int:
    """The hits of all rows."""
    return pc.sum(listing.page(query, 0, listing.total, ["hits"]).rows["hits"]).as_py() or 0


def _column(values: pa.ChunkedArray) -> Float64Column | TextColumn:
    if pa.types.is_string(values.type):
        return columns.text(shown(text or "") for text in values.to_pylist())
    return columns.float64(_numbers(values, np.nan))


def _numbers(values: pa.ChunkedArray, unknown: float) -> np.ndarray:
    """float64 [n]"""
    return pc.fill_null(values.cast(pa.float64()), unknown).to_numpy()


def as_csv(table: pa.Table) -> str:
    """The rows as CSV with a header; what is unknown is empty, and no text is a formula."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(map(_harmless, table.column_names))
    for row in zip(*(column.to_pylist() for column in table.columns)):
        writer.writerow("" if value is None else _harmless(value) for value in row)
    return file.getvalue()


def as_json_lines(table: pa.Table) -> str:
    """The rows as one JSON object a line; what is unknown is null."""
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in table.to_pylist())


def _harmless(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}" if isinstance(value, str) and value.startswith(UNSAFE) else value
