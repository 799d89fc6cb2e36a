"""Names of the Parquet files of a run: the trajectories of a step, in one file or in parts, and their annotations.

trajectories/step-00012.parquet                     the undivided file
trajectories/step-00012.part-0003.parquet           a part
signals/step-00012.REFERENCE.parquet                an annotation of the undivided file
signals/step-00012.part-0003.REFERENCE.parquet      an annotation of the part
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
    """One trajectory file of a step. Parts sort in reading order, the undivided file first."""

    step: int
    number: int = UNDIVIDED
    """number of the part; UNDIVIDED for the undivided file"""

    @property
    def stem(self) -> str:
        return f"step-{self.step:05d}" + ("" if self.number == UNDIVIDED else f".part-{self.number:04d}")

    def facts(self, run: Path) -> Path:
        """The file of the trajectories."""
        return run / "trajectories" / f"{self.stem}.parquet"

    def annotation(self, run: Path, name: str) -> Path:
        """The file of an annotation. Raises ActFocusError for a name that would be parsed as a part."""
        suffix = slug(name)
        if _LIKE_A_PART.match(suffix):
            raise ActFocusError(
                f"{name!r} cannot name an annotation: it reads as a part of a step; choose another name"
            )
        return run / "signals" / f"{self.stem}.{suffix}.parquet"


def stored_parts(run: Path) -> list[Part]:
    """The existing trajectory files, in reading order."""
    return sorted(part for part, name in _parts(run / "trajectories") if name is None)


def stored_annotations(run: Path) -> Iterator[tuple[Part, str]]:
    """The existing annotations: (annotated file, name)."""
    return ((part, name) for part, name in _parts(run / "signals") if name is not None)


def slug(name: str) -> str:
    """A model name as part of a file name, with letters, digits, dots, dashes and underscores only."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "model"


def _parts(folder: Path) -> Iterator[tuple[Part, str | None]]:
    for file in folder.glob("step-*.parquet"):
        if match := _FILE.fullmatch(file.name):
            yield Part(int(match[1]), UNDIVIDED if match[2] is None else int(match[2])), match[3]
