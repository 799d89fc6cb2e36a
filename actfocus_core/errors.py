"""Errors a person can act on."""

LONGEST = 900
"""Characters of a message."""


class ActFocusError(Exception):
    """Bad input: one line that says what is wrong, where, and what would be right.

    The command prints it and exits with 2; the app shows it in the page. What a message quotes of a file or a
    request is shown as characters: a line end is a space, any other control character its code.
    """

    def __init__(self, message: str):
        line = "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in str(message))
        super().__init__(line if len(line) <= LONGEST else f"{line[:LONGEST - 3]}...")
