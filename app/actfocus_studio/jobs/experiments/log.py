"""The end of a run's log, the file in which its process writes what it has to say."""

from __future__ import annotations

from pathlib import Path

from actfocus_core.files import read_end

LOG_TAIL, LOG_MAX = 4000, 400_000
"""Bytes of the end of a log that a page is sent: of a run that failed, and of one whose log it asks for."""


def tail(file: Path, size: int) -> str:
    """The last bytes of a text file; nothing where there is none."""
    try:
        return read_end(file, size).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{file.name} is not shown: {error.strerror}"
