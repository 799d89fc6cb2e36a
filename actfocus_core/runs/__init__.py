"""The run folder: the one interface between making trajectories and looking at them.

    NAME/
      run.json                              config, versions, model (info.py): written once
      metrics.jsonl                         one line a step, append-only
      trajectories/step-00012.parquet       facts, never rewritten
      signals/step-00012.REFERENCE.parquet  a reference model's signals, keyed by trajectory id
      signals/step-00012.NAME.parquet       the values of ANNOTATIONS, keyed the same way
      whatif/KIND-ID.json, .parquet         replays, branches, edits (counterfactual/store.py)

A step may also be stored in parts, ``trajectories/step-00012.part-0003.parquet``, each written whole as rollouts end
(names.py); annotations follow the same parts. docs/runs.md describes every file and column.

Every file appears by rename and is whole when it is seen; ``metrics.jsonl`` grows by
whole lines. So a run can be read while it is written, and years later.
"""

from actfocus_core.runs.atomic import appearing_run, free_path, hidden_path
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
    "appearing_run",
    "free_path",
    "hidden_path",
    "read_trajectories",
    "slug",
    "stamp",
    "write_trajectories",
]
