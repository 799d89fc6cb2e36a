"""The list of rollouts, and of tokens, on a terminal or as JSON lines."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from actfocus_core.cli.show import clean

if TYPE_CHECKING:
    from actfocus_core.listing import Column, Extreme, Listing, Page

WIDTH = 100
NARROWEST = 8
"""Characters that a column of text keeps."""
LONGEST_ID = 40
"""Characters that the first column keeps."""
USUAL = (
    "step",
    "return",
    "success",
    "turns",
    "tokens",
    "action_tokens",
    "malformed",
    "truncated",
    "error",
    "env",
    "agent",
)
"""Columns of the table after id and sort, as many as fit."""


def print_page(page: Page, listing: Listing, asked: bool, as_json: bool) -> None:
    """Print the rows. ``asked``: the columns were named, so one that does not fit is mentioned."""
    rows = page.rows.to_pylist()
    if as_json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False, allow_nan=False))
        return
    columns = page.columns
    cells = [[_cell(row[c.name], c) for c in columns] for row in rows]
    if not asked:
        # A column in which nothing is known says nothing.
        kept = [i for i, c in enumerate(columns) if c.name == "id" or any(line[i] not in ("-", "") for line in cells)]
        columns, cells = [columns[i] for i in kept], [[line[i] for i in kept] for line in cells]
    left = _print_fitted([c.title for c in columns], cells, [c.kind == "text" for c in columns])
    if left and asked:
        print(f"no room for {', '.join(clean(c.name) for c in columns[-left:])}; --json has all columns")
    of = f" of {page.of:,}" if page.total != page.of else ""
    print(f"{page.total:,}{of} rollouts" + (f", {len(rows):,} shown" if len(rows) < page.total else ""))
    if any(c.source == "computed" for c in page.columns):
        print(clean(f"A: {listing.a}, B: {listing.b}"))
        for note in listing.notes:
            print(clean(note))


def print_tokens(measure: str, extremes: list[Extreme], lowest: bool, as_json: bool) -> None:
    """Print the highest or lowest tokens."""
    if as_json:
        for extreme in extremes:
            print(json.dumps({"measure": measure, **asdict(extreme)}, ensure_ascii=False, allow_nan=False))
        return
    head = [measure, "kind", "turn", "token", "rollout", "text"]
    cells = [
        [
            _number(e.value),
            e.kind,
            str(e.turn),
            str(e.token),
            clean(e.id),
            clean(json.dumps(e.text, ensure_ascii=False)),
        ]
        for e in extremes
    ]
    _print_fitted(head, cells, [False, True, False, False, True, True])
    print(
        f"the {len(extremes)} {'lowest' if lowest else 'highest'} sampled tokens"
        if extremes
        else "no token has a value"
    )


def print_columns(columns: list[Column], as_json: bool) -> None:
    """Print what the columns mean."""
    from textwrap import wrap

    for column in columns:
        if as_json:
            print(json.dumps(column.as_dict(), ensure_ascii=False))
            continue
        unit = f" [{column.unit}]" if column.unit else ""
        first = "" if column.source == "stored" else f"{column.source}; "
        name = clean(_quoted(column.name))
        lines = wrap(clean(f"{column.kind}{unit}: {first}{column.meaning}"), WIDTH - 20)
        print(f"{name:19} {lines[0]}" if len(name) < 20 else f"{name}\n{'':19} {lines[0]}")
        for line in lines[1:]:
            print(f"{'':19} {line}")


def _quoted(name: str) -> str:
    """A column's name as ``--where`` takes it."""
    return name if re.fullmatch(r"[^\W\d]\w*(?:\.[\w.-]*\w)?", name) else f"`{name}`"


def _cell(value: Any, column: Column) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return clean(value) if isinstance(value, str) else _number(value)


def _number(value: float) -> str:
    """A whole number as it is, any other with four significant digits."""
    return f"{value:d}" if isinstance(value, int) else f"{value:.4g}"


def _print_fitted(head: list[str], cells: list[list[str]], texts: list[bool]) -> int:
    """Print a table of at most WIDTH columns; the number of columns, the last ones, for which there was no room.

    ``texts``: columns that are aligned left, and shortened in the middle where there is no room.
    """
    widths = [max(map(len, column)) for column in zip(head, *cells)]
    # What is first names the row.
    shortest = [LONGEST_ID, *[NARROWEST] * (len(head) - 1)]
    least = [max(len(head[i]), min(width, shortest[i])) if texts[i] else width for i, width in enumerate(widths)]
    count = len(head)
    while count > 1 and sum(least[:count]) + 2 * (count - 1) > WIDTH:
        count -= 1
    room = WIDTH - 2 * (count - 1) - sum(least[:count])
    for i in range(count):
        more = min(widths[i] - least[i], max(room, 0))
        least[i], room = least[i] + more, room - more
    for line in [head, ["-" * width for width in least], *cells]:
        shown = [_short(text, width) for text, width in zip(line[:count], least)]
        aligned = [t.ljust(w) if left else t.rjust(w) for t, w, left in zip(shown, least, texts)]
        print("  ".join(aligned).rstrip())
    return len(head) - count


def _short(text: str, width: int) -> str:
    """Text of at most ``width`` characters; both ends stay, since ids differ at the end."""
    if len(text) <= width:
        return text
    end = (width - 2) // 2
    return f"{text[: width - 2 - end]}..{text[len(text) - end :]}"
