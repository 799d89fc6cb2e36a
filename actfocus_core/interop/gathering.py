"""``Gathering``: rollouts whose turns stand in several records, as in logs of the calls of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import DataFile, Record, read_records
from actfocus_core.interop.samples import LeftOut, Sample

T = TypeVar("T")
Turns = Iterator[tuple[str, T] | LeftOut]
LATE = "turns that were written while the file was read"
GONE = "turns of rollouts of which others were removed while the file was read"


class Gathering(Generic[T]):
    """Reads files twice: first to count the turns of each rollout, then to yield each rollout with its last turn.

    ``turns`` yields the rollout's name and a turn for each turn in a record. ``build`` makes the samples of a rollout
    from its turns, in the order of the files, and the file of the last. Names are unique in a folder. Memory grows
    with the number of rollouts, and with the turns of those that are not complete.
    """

    def __init__(
        self,
        files: Iterable[DataFile],
        turns: Callable[[Record, DataFile], Turns[T]],
        build: Callable[[list[T], Path], Iterator[Sample | LeftOut]],
    ):
        self._turns, self._build = turns, build
        self._missing: Counter[tuple[Path, str]] = Counter()
        self._found: dict[tuple[Path, str], list[T]] = {}
        for file in files:
            for record in read_records(file.path, Omissions()):
                try:
                    items = list(turns(record, file))
                    self._missing.update((file.path.parent, i[0]) for i in items if not isinstance(i, LeftOut))
                except ActFocusError:
                    continue  # it is refused when it is read again

    def samples(self, record: Record, file: DataFile) -> Iterator[Sample | LeftOut]:
        """The rollouts that are complete with this record."""
        items = list(self._turns(record, file))
        yield from (item for item in items if isinstance(item, LeftOut))
        for name, turn in (item for item in items if not isinstance(item, LeftOut)):
            key = file.path.parent, name
            if not self._missing[key]:
                yield LeftOut(LATE)
                continue
            self._missing[key] -= 1
            self._found.setdefault(key, []).append(turn)
            if not self._missing[key]:
                yield from self._build(self._found.pop(key), file.path)

    def finish(self, omissions: Omissions) -> None:
        """Count the turns of rollouts that were complete when the turns were counted, and not when they were read."""
        for (folder, _), turns in self._found.items():
            omissions.add(GONE, str(folder), len(turns))
