"""The run folder: the interface between the programs that write trajectories and those that read them.

    NAME/
      run.json                              config, versions, model (info.py): written once
      metrics.jsonl                         one line per step, append-only
      trajectories/step-00012.parquet       facts, never rewritten
      signals/step-00012.REFERENCE.parquet  the signals of a reference model, by trajectory id
      signals/step-00012.NAME.parquet       the values of ANNOTATIONS, by trajectory id
      whatif/KIND-ID.json, .parquet         replays, branches, edits (counterfactual/store.py)

A step may also be stored in parts, ``trajectories/step-00012.part-0003.parquet``, written as rollouts finish (names.py);
annotations are divided in the same way. docs/runs.md describes every file and column.

Files are written atomically (by rename), and ``metrics.jsonl`` grows by whole lines, so a run can be read while it is written.
"""

from actfocus_core.runs.atomic import atomic_run, free_path, temporary_path
from actfocus_core.runs.index import stamp
from actfocus_core.runs.info import FORMAT, SCHEMA, VERSION, RunInfo
from actfocus_core.runs.names import Part, slug
from actfocus_core.runs.provenance import Provenance, Source
from actfocus_core.runs.run import Run
from actfocus_core.runs.schema import ANNOTATIONS
from actfocus_core.runs.writer import RunWriter, read_trajectories, write_trajectories

__all__ = [
    "ANNOTATIONS",
    "FORMAT",
    "Part",
    "Provenance",
    "Run",
    "RunInfo",
    "RunWriter",
    "SCHEMA",
    "Source",
    "VERSION",
    "atomic_run",
    "free_path",
    "temporary_path",
    "read_trajectories",
    "slug",
    "stamp",
    "write_trajectories",
]
