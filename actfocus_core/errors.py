"""Errors a person can act on."""

from __future__ import annotations

LONGEST = 900
"""Characters of a message."""


class ActFocusError(Exception):
    """Bad input: one line that says what is wrong, where, and what would be right.

    The command prints it and exits with 2; the app shows it in the page. What a message quotes of a file or a
    request is shown as characters: a line end is a space, any other control character its code.
    """

    def __init__(self, message: str):
        line = "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in str(message))
        super().__init__(line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}...")


def out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory is spent: Python's own, torch's on the CPU (a RuntimeError) or on a device."""
    told = any(words in str(error) for words in ("can't allocate memory", "bad_alloc", "Cannot allocate memory"))
    return isinstance(error, MemoryError) or told or type(error).__name__ == "OutOfMemoryError"
