"""``preview``: what an import would make of a file's first rollouts, without writing anything."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from actfocus_core.interop.importing import Source, check_length
from actfocus_core.runs.provenance import Provenance
from actfocus_core.trajectory import TokenKind, Trajectory


@dataclass(frozen=True)
class Preview:
    """The first rollouts of a file as an import would store them, and what it would say of them."""

    format: str
    """A key of FORMATS."""
    title: str
    """Of the format, for people."""
    trajectories: list[Trajectory]
    read: int
    """Number of trajectories that were read; the counts below are theirs. The import chooses the span rule by the same ones."""
    is_whole: bool
    """Whether the file holds no others."""
    config: dict[str, Any]
    """What the config of run.json would say of them: ``actfocus_core.runs.info.Import``."""
    provenance: Provenance
    groups: int
    tokens: int
    by_kind: dict[str, int]
    """kind of token -> number, in lower case"""
    success: dict[str, int]
    """success, failure, unknown -> number"""

    @property
    def unstated(self) -> dict[str, str]:
        """Entry of the provenance that is not recorded -> how it was obtained, such as "guessed: rule"."""
        sources = {name: getattr(self.provenance, name) for name in Provenance.model_fields}
        return {
            name: f"{source.how}: {source.rule}" if source.rule else source.how
            for name, source in sources.items()
            if source is not None and source.how != "recorded"
        }


def preview(path: str | Path, rollouts: int = 4, *, max_tokens: int | None = None, **how: Any) -> Preview:
    """The first ``rollouts`` trajectories of a file or folder, read as ``import_run`` reads it; nothing is written.

    Only the head of the file is read: the chunk by which an import chooses its span rule. ``how``: the options of
    ``import_run`` (format, tokenizer, spans, environment_spans, success_at, reward_columns, strict). Raises ActFocusError as
    ``import_run`` does, as far as the head of the file shows it.
    """
    source = Source.open(path, **how)
    chunks = source.chunks()
    read: list[Trajectory] = []
    # A chunk may hold nothing that can be read.
    for chunk in chunks:
        if read := list(chunk):
            break
    for trajectory in read:
        check_length(trajectory, max_tokens, source.path)
    is_whole = next(chunks, None) is None
    if is_whole:
        source.format.finish(source.omissions)
    if not read:
        raise source.nothing_read()
    outcomes = Counter({True: "success", False: "failure", None: "unknown"}[t.success] for t in read)
    kinds = Counter(int(kind) for t in read for kind in t.kinds.tolist())
    return Preview(
        format=source.format.name,
        title=source.format.title,
        trajectories=list(islice(read, rollouts)),
        read=len(read),
        is_whole=is_whole,
        config={"approximate": False, **source.config, **source.found()},
        provenance=Provenance.model_validate(source.importer.provenance()),
        groups=len({(t.step, t.group) for t in read}),
        tokens=sum(map(len, read)),
        by_kind={kind.name.lower(): kinds[kind] for kind in TokenKind},
        success={name: outcomes[name] for name in ("success", "failure", "unknown")},
    )
