"""The rollouts of a run as the batches that schemes give credit to, one in memory at a time, without their texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from actfocus_core.credit import Batch, Credit
from actfocus_core.credit.batch import VALUE_SIGNALS
from actfocus_core.listing.setting import Setting
from actfocus_core.runs import Part, Run, slug
from actfocus_core.runs.parquet import RowReader
from actfocus_core.runs.schema import ALTERNATIVES, ANNOTATIONS
from actfocus_core.runs.tables import annotate, to_trajectories
from actfocus_core.signals import OUR_SIGNALS, SIGNALS, signal_values
from actfocus_core.trajectory import Trajectory

TOKENS = 4 << 20
"""Tokens of a batch. A step with more, such as an imported file without steps, is divided between groups."""


@dataclass(frozen=True)
class Rollouts:
    """Some rollouts of a step: all of them, or where it has more than TOKENS whole groups of it."""

    rows: list[int]
    """of each trajectory in the list"""
    trajectories: list[Trajectory]
    whole: bool
    """False where a group was larger than the memory and had to be divided, so that its credit is unknown"""


def batches(run: Run, step: int, reference: str | None, index: pa.Table) -> Iterator[Rollouts]:
    """The batches of a step. ``index``: ``row``, ``group`` and ``tokens`` of its trajectories, in the order of the files.

    A step without signals of the reference is read without signals. Raises ActFocusError for a damaged file.
    """
    rows, groups = index["row"].to_pylist(), index["group"].to_pylist()
    undivided = sum(index["tokens"].to_pylist()) <= TOKENS
    left = Counter(groups)
    waiting: dict[str, list[tuple[int, Trajectory]]] = {}
    size = 0
    for row, group, t in zip(rows, groups, _stream(run, step, reference)):
        waiting.setdefault(group, []).append((row, t))
        left[group] -= 1
        size += len(t)
        if undivided or size <= TOKENS:
            continue
        complete = [name for name in waiting if not left[name]]
        if complete:
            yield _batch([pair for name in complete for pair in waiting.pop(name)])
        elif size > 4 * TOKENS:
            yield replace(_batch([pair for name in list(waiting) for pair in waiting.pop(name)]), whole=False)
        size = sum(len(t) for pairs in waiting.values() for _, t in pairs)
    if waiting:
        yield _batch([pair for pairs in waiting.values() for pair in pairs])


def _batch(pairs: list[tuple[int, Trajectory]]) -> Rollouts:
    pairs.sort(key=lambda pair: pair[0])
    return Rollouts([row for row, _ in pairs], [t for _, t in pairs], True)


def _stream(run: Run, step: int, reference: str | None) -> Iterator[Trajectory]:
    if reference is not None and slug(reference) not in run.references(step):
        plan = [(part, [*ANNOTATIONS]) for part in run.parts(step)]
        plan = [(part, [name for name in names if part.annotation(run.path, name).exists()]) for part, names in plan]
    else:
        plan = run._to_read(step, reference)
    for part, names in plan:
        yield from _part(run.path, part, names)


def _part(run: Path, part: Part, names: list[str]) -> Iterator[Trajectory]:
    """The trajectories of a file with these annotations, a row group in memory at a time."""
    facts = part.facts(run)
    files = {name: part.annotation(run, name) for name in names}
    notes = {name: RowReader(file, without=ALTERNATIVES) for name, file in files.items()}
    for table in RowReader(facts, without=("texts",)):
        trajectories = to_trajectories(table, facts, texts=False)
        for name, rows in notes.items():
            annotate(trajectories, rows.take(table.num_rows), files[name], name)
        yield from trajectories


class Given(NamedTuple):
    """What a scheme gives to a batch, as far as that is known."""

    credit: Credit
    """NaN on response tokens of rollouts that the scheme could not be given"""
    lacking: tuple[str, ...]
    """the inputs that these rollouts lack; keys of ``credit.HOW_TO_GET``"""


def credit(trajectories: list[Trajectory], batch: Batch, setting: Setting) -> Given:
    """The credit of a batch in which returns or signals of some rollouts may be unknown.

    A rollout without a return has weights but no advantage, and the others are compared without it: it is a group of its
    own. Where a scheme needs what some rollouts lack, it is given the rollouts with a return, or the groups in which all
    rollouts have the signals, alone.
    """
    scored = np.isfinite(batch.returns)
    groups = [group if known else f"{group}\n{row}" for row, (group, known) in enumerate(zip(batch.groups, scored))]
    found = setting.compute(batch if scored.all() else replace(batch, groups=groups))
    if not found.missing and np.isfinite(found.signed[scored[batch.index]]).all():
        return Given(found, ())
    for chosen in (scored, _with_signals(trajectories, batch, found.missing)):
        if chosen.any() and not chosen.all():
            some = [t for t, known in zip(trajectories, chosen) if known]
            part = credit(some, Batch.of(some), setting)
            if not part.credit.missing:
                return Given(_spread(part.credit, chosen[batch.index]), found.missing)
    return Given(found, found.missing)


def _with_signals(trajectories: list[Trajectory], batch: Batch, names: tuple[str, ...]) -> np.ndarray:
    """bool [n]: whether all rollouts of the group have these signals on all tokens in the loss."""
    lacks = {
        group
        for t, group in zip(trajectories, batch.groups)
        for name in names
        if not np.isfinite(token_values(t, name)[t.loss_mask]).all()
    }
    return np.array([group not in lacks for group in batch.groups], bool)


def token_values(t: Trajectory, name: str) -> np.ndarray:
    """float [T]: a signal, or a value of VALUE_SIGNALS, at every token; NaN where it is unknown, 0 for other inputs."""
    if name in SIGNALS or name in OUR_SIGNALS:
        return signal_values(t, name)
    return t.signals.get(name, np.full(len(t), np.nan, np.float32)) if name in VALUE_SIGNALS else np.zeros(len(t))


def _spread(part: Credit, here: np.ndarray) -> Credit:
    """The credit of some trajectories as that of a batch, with NaN on all other tokens. ``here``: bool [N]."""
    fields: dict[str, Any] = {}
    for name in ("advantage", "weight", "keep", "clip_scale"):
        fields[name] = np.full(len(here), np.nan, np.float32)
        fields[name][here] = getattr(part, name)
    divisor = float((part.keep.astype(np.float64) * part.weight).sum()) if part.divisor is None else part.divisor
    return replace(part, **fields, divisor=divisor)
