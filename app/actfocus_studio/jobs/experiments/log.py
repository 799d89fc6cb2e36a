"""The end of the log of a run's process."""

from __future__ import annotations

from pathlib import Path

from actfocus_core.files import read_end

LOG_TAIL, LOG_MAX = 4000, 400_000
"""Bytes from the end of a log that are sent to a page: of a failed run, and on request."""


def tail(file: Path, size: int) -> str:
    """The last ``size`` bytes of a text file; empty where the file is missing."""
    try:
        return read_end(file, size).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{file.name} cannot be read: {error.strerror}"
