"""prime-rl's trace stream: verifiers' episodes, and the annotations that are written about them later.

Source: ``prime_rl/monitors/file/traces/{update,chunks,index,live}.py`` and ``trainer/rl/annotations.py``, of September 2026::

    traces/stream/00000.jsonl[.zst]                  the episodes, once each, as they arrive (before: stream.jsonl)
    traces/stream.index.jsonl                        a summary of each, which is not needed here
    traces/annotations/<producer>/00000.jsonl[.zst]  trace_id, info, branches[{index, a list per stream}]
    traces/live/<trace id>.jsonl, live/pending/      rollouts that are still running, or about to

Annotations are merged by trace and branch in the order in which they were written, producers by name; the newest wins. A
stream runs over all tokens of the branch, null where unknown. A node takes it if it covers the node and, except for
``is_masked``, states a number for each of its sampled tokens. A stream that is longer than its branch is not aligned with
it and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.formats import verifiers
from actfocus_core.interop.formats.annotation_store import STREAMS, Annotation, AnnotationStore
from actfocus_core.interop.formats.preparation import NOT_NEEDED, READ_ALONG, Prepared
from actfocus_core.interop.formats.trace_graph import leaves_of, parents_of, path_to
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import DataFile, Record, read_records
from actfocus_core.interop.reading.content import LINES, data_suffix
from actfocus_core.interop.reading.folders import visible_files, without_copies
from actfocus_core.interop.samples import LeftOut, Sample

LIVE = "files of rollouts that are still running"
REFUSED = "annotations that cannot be read"
UNKNOWN = "annotated traces that are not among the imported ones"
REPEATED = "traces that were imported before"
MISALIGNED = "annotated streams that are longer than their branch"
CUT = "annotated streams that end before their branch"
NO_BRANCH = "annotations of branches that their trace does not have"


def beside(fields: dict[str, Any]) -> str | None:
    """What a file with these fields in its first record is, if prime-rl writes it beside the stream."""
    names = set(fields)
    if {"trace_id", "branches"} <= names:
        return READ_ALONG
    if {"line", "offset", "trace_ids"} <= names or {"trace_id", "offset", "info"} <= names:
        return NOT_NEEDED
    is_live = "trace" in names and ("open" in names or "dispatch" in names)
    return LIVE if is_live or {"kind", "env", "task", "started"} <= names else None


def companions(path: Path) -> list[Path]:
    """The annotations of a file of a stream, in the order in which they are merged."""
    traces = _traces_folder(path)
    folder = traces / "annotations" if traces else None
    if folder is None or folder.is_symlink() or not folder.is_dir():
        return []
    found = [file for file in visible_files(folder, Omissions()) if data_suffix(file) in LINES]
    return without_copies([file for file in found if ".index." not in file.name], Omissions())


def prepared(files: list[DataFile], given: Sequence[str] | None, omissions: Omissions) -> Prepared:
    """Read the annotations of all streams among the files."""
    stores: dict[Path, AnnotationStore] = {}
    for file in files:
        traces = _traces_folder(file.path)
        if traces and traces not in stores:
            stores[traces] = _read(companions(file.path), omissions)
    if not stores:
        return Prepared(verifiers.samples)

    def samples(record: Record, file: DataFile) -> Iterator[Sample | LeftOut]:
        traces = _traces_folder(file.path)
        if traces is None or not record.value.get("traces"):
            yield from verifiers.samples(record, file)
            return
        new = []
        for trace in record.records("traces"):
            name = trace.key("id", "")
            if name and stores[traces].is_used(name):
                yield LeftOut(REPEATED)
                continue
            new.append(trace.value)
            for annotation in stores[traces].take(name) if name else ():
                yield from merge(trace, annotation)
        if new:
            yield from verifiers.samples(Record(record.value | {"traces": new}, record.where), file)

    def finish(omissions: Omissions) -> None:
        for store in stores.values():
            if unknown := store.unused():
                omissions.add(UNKNOWN, number=unknown)

    return Prepared(samples, finish=finish)


def _traces_folder(path: Path) -> Path | None:
    """The folder of a stream and its annotations; None for a file that is not of a stream."""
    if path.parent.name == "stream":
        return path.parent.parent
    return path.parent if path.name.split(".")[0] == "stream" else None


def _read(paths: Sequence[Path], omissions: Omissions) -> AnnotationStore:
    store = AnnotationStore()
    for path in paths:
        try:
            for record in read_records(path, omissions):
                try:
                    store.add(record)
                except ActFocusError as error:
                    omissions.refuse(REFUSED, error)
        except ActFocusError as error:
            omissions.refuse(REFUSED, error)
    return store


def merge(trace: Record, annotation: Annotation) -> Iterator[LeftOut]:
    """Merge an annotation into a trace, in place; yields what does not fit."""
    if annotation.info:
        trace.value["info"] = _deep_merged(trace.value.get("info"), annotation.info)
    nodes = trace.records("nodes") if annotation.branches else []
    parents = parents_of(nodes)
    leaves = leaves_of(parents)
    for index, streams in annotation.branches:
        if index >= len(leaves):
            yield LeftOut(NO_BRANCH)
            continue
        path = [nodes[n] for n in path_to(parents, leaves[index])]
        for name, values in streams.items():
            yield from _merge_stream(path, name, values)


def _merge_stream(path: Sequence[Record], name: str, values: np.ndarray) -> Iterator[LeftOut]:
    """Give the nodes of a branch their part of a stream, over their sampled tokens like ``logprobs``.

    ``values``: float32 [tokens of the branch], NaN where unknown.
    """
    masks = [_mask(node) for node in path]
    length = sum(map(len, masks))
    if len(values) > length and np.isfinite(values[length:]).any():
        yield LeftOut(MISALIGNED)
        return
    if len(values) < length:
        yield LeftOut(CUT)
    start = 0
    for node, mask in zip(path, masks):
        part = values[start : start + len(mask)]
        start += len(mask)
        if len(part) < len(mask):
            return
        stated = np.isfinite(part[mask])
        if stated.any() if name == STREAMS[-1] else len(stated) and stated.all():
            node.value[name] = part[mask].tolist()


def _mask(node: Record) -> np.ndarray:
    """bool [tokens of the node]"""
    length = len(node.get("token_ids", list, "a list of integers", []))
    return node.mask("mask", length) if node.value.get("mask") else np.zeros(length, bool)


def _deep_merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: _deep_merged(old.get(key), value) for key, value in new.items()}
    return new
