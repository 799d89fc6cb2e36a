"""Errors that a user can act on."""

from __future__ import annotations

MAX_LENGTH = 900
"""Maximum length of a message, in characters."""


class ActFocusError(Exception):
    """Invalid input. The message is one line: what is wrong, where, and how to correct it.

    The command line prints it and exits with status 2; the app shows it on the page. In text that a message quotes, line
    breaks become spaces and other control characters are escaped.
    """

    def __init__(self, message: str):
        line = "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in str(message))
        super().__init__(line if len(line) <= MAX_LENGTH else f"{line[: MAX_LENGTH - 3]}...")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means out of memory: Python's MemoryError, or torch's errors on the CPU or on a device."""
    # On the CPU torch raises a RuntimeError, which only its text identifies.
    allocation = any(text in str(error) for text in ("can't allocate memory", "bad_alloc", "Cannot allocate memory"))
    return isinstance(error, MemoryError) or allocation or type(error).__name__ == "OutOfMemoryError"
