"""A run of prime-rl as its file monitor writes it: the stream of episodes, its index, annotations, and rollouts in flight."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.interop.files import records

Row = dict[str, Any]
TRACES = "monitors/file/traces"
KEPT = ("token_ids", "mask", "logprobs", "message", "parent", "sampled", "is_content")


def episodes(tokenizer) -> list[Row]:
    """Four episodes of two groups as they arrive: nobody has assigned an advantage to their nodes."""
    rows = records("verifiers", tokenizer)
    for row in rows:
        (trace,) = row["traces"]
        trace["nodes"] = [{name: node[name] for name in KEPT} for node in trace["nodes"]]
        trace["info"] = {"kind": "train", "dispatch": {"time": 10.5}, "arrival": {"time": 12.0}}
        row["env"] = {"id": "gym+lake", "name": "lake-easy"}
        row["run"]["work"] = {"type": "train", "step": 4, "policy": {"start": 3, "end": 4}}
    return rows


def masks(trace: Row) -> list[bool]:
    """Whether each token of a trace of one branch was sampled."""
    return [sampled for node in trace["nodes"] for sampled in node["mask"]]


def streams(trace: Row, **values: float | bool) -> Row:
    """A branch of an annotation with these values on the sampled tokens, null elsewhere and at the first."""
    mask = masks(trace)
    return {name: [value if m and n else None for n, m in enumerate(mask)] for name, value in values.items()}


def annotation(trace: Row, info: Row | None = None, index: int = 0, **branch: list) -> Row:
    """An update of a trace, as ``make_update`` returns it."""
    branches = [{"index": index, **branch}] if branch else []
    return {"version": 1, "trace_id": trace["id"], "info": info or {}, "branches": branches}


def write_run(folder: Path, rows: list[Row], annotated: dict[str, list[Row]], sealed: bool = False) -> Path:
    """Write a run's output folder; ``annotated``: producer -> its updates. ``sealed``: chunks are compressed."""
    traces = folder / TRACES
    index, offset = [], 0
    for line, row in enumerate(rows, 1):
        one = {"line": line, "chunk": 0, "offset": offset, "id": row["id"], "kind": "train"}
        index.append({**one, "trace_ids": [trace["id"] for trace in row["traces"]], "reward": 1.0, "ok": True})
        offset += len(json.dumps(row)) + 1
    write_lines(traces / "stream" / "00000.jsonl", rows, sealed)
    write_lines(traces / "stream.index.jsonl", index)
    (traces / "stream.lock").touch()
    for producer, updates in annotated.items():
        write_lines(traces / "annotations" / producer / "00000.jsonl", updates, sealed)
        scalars = [{"trace_id": update.get("trace_id"), "chunk": 0, "offset": 0, "info": {}} for update in updates]
        write_lines(traces / "annotations" / f"{producer}.index.jsonl", scalars)
    return folder


def write_lines(path: Path, rows: list[Row], sealed: bool = False) -> Path:
    """Write JSON lines; ``sealed``: in two zstd frames and a skippable frame, as a seekable writer does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) + "\n" for row in rows]
    if not sealed:
        path.write_text("".join(lines))
        return path
    codec, half = pa.Codec("zstd"), len(lines) // 2
    frames = [codec.compress("".join(part).encode(), asbytes=True) for part in (lines[:half], lines[half:])]
    seek_table = b"\x5e\x2a\x4d\x18" + (9).to_bytes(4, "little") + bytes(9)
    path.with_name(path.name + ".zst").write_bytes(b"".join(frames) + seek_table)
    return path.with_name(path.name + ".zst")
