"""Errors a person can act on."""


class ActFocusError(Exception):
    """Bad input: one line that says what is wrong, where, and what would be right.

    The command prints it and exits with 2; the app shows it in the page.
    """
