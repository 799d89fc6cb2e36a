"""``Omissions``: what an import could not read or left out, counted by kind, with an example of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from actfocus_core.errors import ActFocusError


@dataclass
class Omissions:
    """Counts of what an import left out.

    ``strict``: raise the error of an unreadable line, record or file instead of counting it.
    """

    strict: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    """kind, in the plural -> number"""
    examples: dict[str, str] = field(default_factory=dict)
    """kind -> where the first was found, or its error"""
    error: ActFocusError | None = None
    """The first error that was counted; to be raised if nothing at all could be read"""

    def add(self, kind: str, example: str = "", number: int = 1) -> None:
        """Count ``number`` items of a kind that is left out on purpose or has no place in a trajectory."""
        self.counts[kind] += number
        if example:
            self.examples.setdefault(kind, example)

    def refuse(self, kind: str, error: ActFocusError) -> None:
        """Count an unreadable item with its error. Raises the error if ``strict``."""
        if self.strict:
            raise error
        self.error = self.error or error
        self.add(kind, str(error))
