"""What tests ask of the operating system's processes."""

from __future__ import annotations

import psutil


def command_line(process: psutil.Process) -> list[str]:
    """The arguments of ``process``; none of one that has ended, which nobody may have waited for yet."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # A zombie is one too.
        return []
