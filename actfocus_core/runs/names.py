"""The names of a run's Parquet files: the trajectories of a step, undivided or in parts, and their annotations.

trajectories/step-00012.parquet                     undivided
trajectories/step-00012.part-0003.parquet           a part
signals/step-00012.REFERENCE.parquet                an annotation of the undivided file
signals/step-00012.part-0003.REFERENCE.parquet      of the part
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from actfocus_core.errors import ActFocusError

_FILE = re.compile(r"step-(\d{5,})(?:\.part-(\d{4,}))?(?:\.(.+))?\.parquet")
_LIKE_A_PART = re.compile(r"part-\d{4,}(?:\.|\Z)")
UNDIVIDED = -1


class Part(NamedTuple):
    """One file of a step's trajectories. Parts sort as they are read: the undivided file first."""

    step: int
    number: int = UNDIVIDED
    """of the part; UNDIVIDED for the file that is no part"""

    @property
    def stem(self) -> str:
        return f"step-{self.step:05d}" + ("" if self.number == UNDIVIDED else f".part-{self.number:04d}")

    def facts(self, run: Path) -> Path:
        """Its trajectories."""
        return run / "trajectories" / f"{self.stem}.parquet"

    def annotation(self, run: Path, name: str) -> Path:
        """An annotation of these. Raises ActFocusError for a name that reads as a part."""
        own = slug(name)
        if _LIKE_A_PART.match(own):
            raise ActFocusError(
                f"{name!r} cannot name an annotation: it reads as a part of a step; choose another name"
            )
        return run / "signals" / f"{self.stem}.{own}.parquet"


def facts_of(run: Path) -> list[Part]:
    """The files of trajectories that are there, in the order in which they are read."""
    return sorted(part for part, name in _parts(run / "trajectories") if name is None)


def annotations_of(run: Path) -> Iterator[tuple[Part, str]]:
    """The annotations that are there: of which file, and their names."""
    return ((part, name) for part, name in _parts(run / "signals") if name is not None)


def slug(name: str) -> str:
    """A model's name as part of a file name: letters, digits, dot, dash, underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "model"


def _parts(folder: Path) -> Iterator[tuple[Part, str | None]]:
    for file in folder.glob("step-*.parquet"):
        if match := _FILE.fullmatch(file.name):
            yield Part(int(match[1]), UNDIVIDED if match[2] is None else int(match[2])), match[3]
