"""Results and progress on the terminal."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

OnProgress = Callable[[int, int], None]
"""on_progress(done, total)"""
Show = Callable[[str], OnProgress]
"""phase -> on_progress(done, total)"""
LOG_SECONDS = 10.0
"""Minimum time between two lines of one phase in a log."""


def clean(text: object) -> str:
    """Text as one line that is safe to print: control and direction characters are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def print_result(as_json: bool, result: dict[str, Any]) -> None:
    """Print the result as one JSON object, or as one ``key: value`` line per entry."""
    if as_json:
        print(json.dumps(_finite(result), allow_nan=False))
        return
    for key, value in result.items():
        print(f"{key.replace('_', ' ')}: {f'{value:.3f}' if isinstance(value, float) else clean(value)}")


def _finite(value: object) -> object:
    """The value with null in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table whose first column is aligned left and whose other columns are aligned right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(clean(title), style="table.title"), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(Text(clean(column)), justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    # Numbers are never truncated, so a line may be longer than the terminal is wide.
    console = Console()
    widest = Console(width=10_000).measure(table).maximum
    Console(width=max(console.width, widest)).print(table)


def plain(value: float | None, digits: int = 3) -> str:
    """A number with ``digits`` decimals, or a dash if there is no finite number."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def percent(value: float) -> str:
    """A fraction as a percentage, or a dash if it is not finite."""
    return f"{value:.1%}" if math.isfinite(value) else "-"


def _json_lines(phase: str) -> OnProgress:
    return lambda done, total: print(
        json.dumps({"phase": phase, "done": done, "total": total}), file=sys.stderr, flush=True
    )


def _log_lines(phase: str) -> OnProgress:
    """Print a line with the time at the end of the phase, and every LOG_SECONDS before."""
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last > LOG_SECONDS:
            last = time.monotonic()
            print(f"{time.strftime('%H:%M:%S')} {phase}: {done} of {total}", file=sys.stderr, flush=True)

    return report


@contextmanager
def progress_bars(mode: str, files: bool = False) -> Iterator[Show]:
    """Context manager that yields a function: phase -> callback(done, total).

    ``mode``: bar; jsonl, for programs; lines, for logs; none. ``files``: the counts are bytes.
    """
    if mode != "bar":
        yield {"jsonl": _json_lines, "lines": _log_lines}.get(mode, lambda phase: lambda done, total: None)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    # If stderr is not a terminal, a bar would only clutter the one line of an error; before rich 15 even a disabled bar ends
    # with a newline.
    if not console.is_terminal:
        yield lambda phase: lambda done, total: None
        return
    with Progress(
        TextColumn("{task.description:>10}"),
        BarColumn(),
        DownloadColumn() if files else MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bars:

        def show(phase: str) -> OnProgress:
            task = bars.add_task(phase, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield show
