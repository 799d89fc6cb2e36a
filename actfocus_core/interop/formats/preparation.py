"""``Prepared``: a format that is configured for the files of one import."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import LeftOut, Sample
from actfocus_core.trajectory import Trajectory

Read = Callable[[Record, DataFile], Iterator[Sample | Trajectory | LeftOut]]
"""A function that yields the contents of one record of a file."""

READ_ALONG = "read along"
"""Of a file beside those of rollouts: its content is merged into theirs"""
NOT_NEEDED = ""
"""Of a file beside those of rollouts: an index or a summary, which says nothing that they do not"""


def nothing_more(omissions: Omissions) -> None:
    """``Prepared.finish`` of a format that has nothing to say after its last record."""


@dataclass(frozen=True)
class Prepared:
    """What a format reads from the files of an import before their records."""

    samples: Read
    config: dict[str, Any] = field(default_factory=dict)
    """Entries for the config of run.json"""
    finish: Callable[[Omissions], None] = nothing_more
    """Called after the last record; counts what of the other files belongs to no rollout"""


Prepare = Callable[[list[DataFile], Sequence[str] | None, Omissions], Prepared]
"""From all files of an import, and the reward columns that the user names"""
Companions = Callable[[Path], list[Path]]
"""The files that are read along with a file of rollouts"""


def no_companions(path: Path) -> list[Path]:
    """``Companions`` of a format whose files stand alone."""
    return []


def none_beside(fields: dict[str, Any]) -> str | None:
    """``Format.beside`` of a format whose program writes nothing else into the folder."""
    return None
