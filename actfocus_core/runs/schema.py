"""The columns of the Parquet files of a run."""

from __future__ import annotations

import pyarrow as pa

ROWS_PER_GROUP = 64
"""Trajectories per Parquet row group, the unit that is read to show one of them."""


SCALARS = {
    "id": pa.string(),
    "group": pa.string(),
    "env": pa.string(),
    "seed": pa.int64(),
    "rollout": pa.int32(),
    "step": pa.int32(),
    "model": pa.string(),
    "reward": pa.float64(),
    "penalty": pa.float64(),
    "success": pa.bool_(),
    "terminated": pa.bool_(),
    "truncated": pa.bool_(),
}


NULLABLE = {"success"}
"""Columns of SCALARS that may be null (unknown)."""


COUNTS = {
    "n_turns": pa.int32(),
    "n_valid": pa.int32(),
    "n_tokens": pa.int32(),
    "n_reasoning": pa.int32(),
    "n_action": pa.int32(),
    "n_format": pa.int32(),
}


TURN = pa.struct(
    [
        ("observation", pa.string()),
        ("response", pa.string()),
        ("actions", pa.list_(pa.string())),
        ("valid", pa.bool_()),
        ("reward", pa.float64()),
        ("penalty", pa.float64()),
        ("state_key", pa.string()),
        ("state", pa.string()),
    ]
)


COLUMNS = {
    "token_ids": pa.list_(pa.int32()),
    "kinds": pa.list_(pa.uint8()),
    "turns": pa.list_(pa.int16()),
    "logprobs": pa.list_(pa.float32()),
    "texts": pa.list_(pa.string()),
    "turn_records": pa.list_(TURN),
}


OPTIONAL = {
    "columns": pa.string(),
    "rollout_id": pa.string(),
    "segment": pa.int32(),
    "parent": pa.struct([("segment", pa.int32()), ("token", pa.int32())]),
    "agent": pa.string(),
    "trainable": pa.bool_(),
    "in_loss": pa.list_(pa.bool_()),
    "policy_version": pa.list_(pa.int32()),
    "rewards": pa.list_(pa.struct([("name", pa.string()), ("score", pa.float64()), ("weight", pa.float64())])),
    "error": pa.string(),
    "stop_reason": pa.string(),
    "turn_messages": pa.list_(pa.string()),
    "turn_tools": pa.list_(pa.string()),
    "turn_calls": pa.list_(pa.string()),
}
"""Columns written if any trajectory of the file has a value; null, or no column, means the default of ``Trajectory``.

``columns`` is JSON. The last three hold JSON text per turn, or null; they are separate from ``turn_records``, whose type is
that of schema 1.
"""


TURN_FIELDS = ("messages", "tools", "calls")
"""Fields of ``Turn`` stored as ``turn_messages``, ``turn_tools`` and ``turn_calls``."""


INDEXED = ("rollout_id", "segment", "agent", "trainable")
"""Columns of OPTIONAL in the index: the rollout and the agent of a trajectory."""


ALTERNATIVES = {
    "top_ids": pa.list_(pa.int32()),
    "top_logprobs": pa.list_(pa.float32()),
    "top_texts": pa.list_(pa.list_(pa.string())),
}


SIGNAL_PREFIX = "signal:"


RECORDED_PREFIX = "recorded:"


METADATA_KEY = b"actfocus"
"""Key in the Parquet metadata of an annotation: how it was computed, as JSON."""


REFERENCE_PREFIX = "ref_"


ANNOTATIONS = {
    "oracle-optimal": ("oracle_q", "oracle_v", "criticality"),
    "oracle-policy": (
        "policy_q",
        "policy_v",
        "policy_q_replica",
        "policy_v_replica",
        "policy_q_n",
        "policy_v_n",
        "policy_q_half",
        "policy_v_half",
    ),
    "oracle-answers": ("answer_logprob_before", "answer_logprob_after"),
}
"""Annotation -> its signals, computed by ``actfocus_core.oracle.values``.

Any other name is a reference model, with signals ``ref_*``. Trajectories are read with the signals of one reference model, and
with all of the annotations named here.
"""


def holds(annotation: str, signal: str) -> bool:
    """Whether an annotation contains a signal."""
    return signal in ANNOTATIONS[annotation] if annotation in ANNOTATIONS else signal.startswith(REFERENCE_PREFIX)


def rewrite_command(annotation: str) -> str:
    """The command that computes an annotation again."""
    return "`actfocus oracle --recompute`" if annotation in ANNOTATIONS else "`actfocus score`"
