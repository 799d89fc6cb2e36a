"""miles' dump as its trainer and its dashboard write it, made of the small dialogue of ``files``."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.interop.files import stream

SCHEMA = pa.schema(
    [
        ("sample_index", pa.int32()),
        ("response_length", pa.int32()),
        ("total_length", pa.int32()),
        ("tokens", pa.large_list(pa.int32())),
        ("loss_mask", pa.large_list(pa.int8())),
        ("rollout_log_probs", pa.large_list(pa.float32())),
    ]
)
"""Of ``save_dashboard_columns``"""


def row(tokenizer, index: int, **changes) -> dict:
    """The small dialogue: its prompt, and a response with a turn of the environment that is out of the loss."""
    (prompt, _), *response = stream(tokenizer, index % 2)
    ids = [i for block, _ in response for i in block]
    mask = [int(sampled) for block, sampled in response for _ in block]
    one = {"sample_index": index, "response_length": len(ids), "total_length": len(prompt) + len(ids)}
    return {**one, "tokens": prompt + ids, "loss_mask": mask, "rollout_log_probs": [-0.5 * m for m in mask], **changes}


def columns(folder: Path, rows: list[dict], name: str = "7") -> Path:
    path = folder / "dashboard_columns" / f"rollout_{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path, row_group_size=8)
    return path


def entry(index: int, status: str = "completed", reward: float | None = 1.0, **more) -> dict:
    group = {"sample_index": index, "group_index": index // 2, "status": status, "reward": reward}
    return {**group, "prompt": "P", "messages": [{"role": "user", "content": "P"}], **more}


def trajectory(folder: Path, entries: list[dict], name: str = "7") -> Path:
    path = folder / "trajectory" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in entries))
    return path


def table(folder: Path, entries: list[dict], name: str = "7") -> Path:
    """The dashboard's table, with more about each sample, and what it was made of."""
    more = {"weight_version_min": 5, "mixed_version": True, "staleness": 2, "normalized_reward": 0.5, "raw_reward": 3.0}
    rows = [{k: v for k, v in one.items() if k not in ("prompt", "messages")} | more for one in entries]
    path = folder / "dashboard" / "cache" / f"rollout_{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    path.with_suffix(".sources.json").write_text(json.dumps({"_summary_version": 3, "7.pt": 1.0}))
    return path


def records(name: str, tokenizer) -> list[dict]:
    """Two rows of columns."""
    assert name in FORMATS
    return [row(tokenizer, 0), row(tokenizer, 1)]


FORMATS = ("miles",)
