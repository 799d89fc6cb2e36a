"""``GrowingAnnotation``: the signals of a reference model for one trajectory file, stored while they are computed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from actfocus_core.errors import ActFocusError
from actfocus_core.runs.names import Part, slug
from actfocus_core.runs.parquet import open_parquet, read_table, write_table
from actfocus_core.runs.run import read_metadata
from actfocus_core.runs.schema import ALTERNATIVES, METADATA_KEY, REFERENCE_PREFIX, SIGNAL_PREFIX
from actfocus_core.runs.tables import annotation_table
from actfocus_core.trajectory import Trajectory


class GrowingAnnotation:
    """The annotation of a part, with null in the rows of trajectories that have no signals yet.

    Its rows are in the order of the part, so readers find it as they find any other annotation: a trajectory with a null row
    has no signals. ``store`` replaces the file atomically, and the bytes of the file depend on its content alone, not on how
    often it was stored before.
    """

    def __init__(self, run: Path, part: Part, reference: str, ids: list[str], metadata: dict[str, Any]):
        self.file = part.annotation(run, reference)
        self.ids, self.metadata = ids, metadata
        self._name = slug(reference)
        self._tables: list[pa.Table] = []
        self.scored: set[str] = set()
        """The trajectories that have signals."""

    def resume(self) -> None:
        """Take over what the stored file has, if there is one.

        Raises ActFocusError if it was computed in another way, or belongs to other trajectories.
        """
        if not self.file.exists():
            return
        metadata = read_metadata(self.file, self._name)
        ids, scored = stored_rows(self.file)
        if ids != self.ids:
            raise ActFocusError(f"{self.file}: its rows are not those of the trajectories; score without --resume")
        # Annotations of earlier versions and of other programs do not say how they were computed; a complete one is kept.
        if metadata != self.metadata and (metadata or len(scored) < len(ids)):
            raise ActFocusError(
                f"{self.file}: was not computed by this reference model with these options; score without --resume to replace it"
            )
        table = read_table(self.file, None)
        # Parquet names the items of a list otherwise than Arrow, and the file would show it.
        table = table.cast(pa.schema([(name, _type(name)) for name in table.column_names]))
        self._tables = [table.filter(pc.is_in(table["id"], pa.array(sorted(scored), pa.string())))]
        self.scored = scored

    def add(self, trajectories: list[Trajectory]) -> None:
        """Add trajectories that were scored; ``store`` writes them."""
        self._tables.append(annotation_table(trajectories, self._name))
        self.scored |= {t.id for t in trajectories}

    def store(self) -> None:
        """Write the file. Raises ActFocusError where it cannot be written."""
        missing = [id for id in self.ids if id not in self.scored]
        tables = [*self._tables, pa.table({"id": pa.array(missing, pa.string())})]
        names = dict.fromkeys(name for table in tables for name in table.column_names)
        together = pa.concat_tables(tables, promote_options="default").select(_ordered(names)).combine_chunks()
        self._tables = [together.slice(0, together.num_rows - len(missing))]
        row_of = {id: row for row, id in enumerate(together["id"].to_pylist())}
        # In one chunk: the pages of the file would else follow the order in which trajectories were scored.
        table = together.take(pa.array([row_of[id] for id in self.ids], pa.int64())).combine_chunks()
        write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(self.metadata)}), self.file)
        if not missing:
            self._tables = []  # complete: nothing is added any more


def _ordered(names: Iterable[str]) -> list[str]:
    """The columns of an annotation: ids, signals by name, then the alternatives."""
    return sorted(names, key=lambda name: (name != "id", not name.startswith(SIGNAL_PREFIX), name))


def _type(column: str) -> pa.DataType:
    return pa.string() if column == "id" else ALTERNATIVES.get(column, pa.list_(pa.float32()))


def stored_rows(file: Path) -> tuple[list[str], set[str]]:
    """The ids of an annotation's rows, and of those that have signals of a reference model."""
    with open_parquet(file) as parquet:
        names = parquet.schema_arrow.names
    signals = [name for name in names if name.startswith(SIGNAL_PREFIX + REFERENCE_PREFIX)]
    if "id" not in names:
        raise ActFocusError(f"{file}: no column 'id'; `actfocus score` computes it again")
    table = read_table(file, None, ["id", *signals[:1]])
    ids: list[str] = table["id"].to_pylist()
    if not signals:
        return ids, set()
    return ids, {id for id, known in zip(ids, table[signals[0]].is_valid().to_pylist()) if known}
