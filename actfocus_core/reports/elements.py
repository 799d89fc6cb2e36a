"""The elements that every section of the report is built from: headed sections, tables, numbers as text."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import numpy as np


def section(title: str, body: str) -> str:
    """A headed section. The title is escaped; ``body`` is HTML."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def table(columns: list[str], rows: Iterable[list[str]], numbers: int = 0) -> str:
    """A table in which every cell is escaped. ``numbers``: how many of the last columns are numbers."""
    first = len(columns) - numbers
    head = "".join(f"<th>{escape(c)}</th>" for c in columns)
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=n' if i >= first else ''}>{escape(cell)}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def number(value: float | None) -> str:
    """Three decimals, or a dash where there is no finite number."""
    return "-" if value is None or not np.isfinite(value) else f"{value:.3f}"


def share(value: float) -> str:
    """A percentage, or a dash where there is no finite number."""
    return f"{value:.1%}" if np.isfinite(value) else "-"
