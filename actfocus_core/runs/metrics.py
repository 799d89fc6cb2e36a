"""Rows of metrics.jsonl."""

from __future__ import annotations

import errno
from types import NoneType
from typing import IO

from actfocus_core.files import LINE_MAX


def whole_lines(stream: IO[bytes], limit: int | None) -> list[bytes]:
    """The next complete lines of a file, at most ``limit``; an incomplete last line is left out.

    Raises OSError for a line of more than LINE_MAX bytes.
    """
    lines: list[bytes] = []
    while limit is None or len(lines) < limit:
        line = stream.readline(LINE_MAX + 1)
        if len(line) > LINE_MAX:
            raise OSError(errno.EFBIG, f"a line has more than {LINE_MAX:,} bytes")
        if not line.endswith(b"\n"):
            break
        lines.append(line)
    return lines


def is_row(row: object) -> bool:
    """Whether an object is a row of metrics: a step, and numbers by name."""
    return (
        isinstance(row, dict)
        and type(row.get("step")) is int
        and 0 <= row["step"] < 2**31
        and all(
            isinstance(value, (float, NoneType)) or (isinstance(value, int) and abs(value) < 2**63)
            for value in row.values()
        )
    )
