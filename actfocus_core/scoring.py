"""``score_run``: score a run with a reference model group by group, so that it can be sampled, stopped and resumed.

Every group is scored by itself, so its numbers do not depend on which groups were scored before, and each is stored soon
after. A job that was killed and resumed leaves the same files as one that ran to its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Part, Run
from actfocus_core.runs.growing import GrowingAnnotation, stored_rows
from actfocus_core.runs.parquet import RowGroups
from actfocus_core.runs.tables import to_trajectories
from actfocus_core.signals import score
from actfocus_core.trajectory import Trajectory

if TYPE_CHECKING:
    from actfocus_core.policy import Policy

STORE_SHARE = 20
"""Computing takes at least this many times as long as storing, which writes the whole annotation of a part."""


@dataclass(frozen=True)
class Scored:
    """What ``score_run`` did, and what it left."""

    groups: int
    trajectories: int
    tokens: int
    seconds: float
    """Of scoring and storing; loading the model is not counted."""
    groups_left: int
    trajectories_left: int
    tokens_left: int

    @property
    def seconds_left(self) -> float | None:
        """How long the rest would take at this pace; None if nothing was scored."""
        return self.seconds / self.tokens * self.tokens_left if self.tokens else None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "seconds_left": self.seconds_left}


@dataclass(frozen=True)
class _Group:
    """A group of a step: its trajectories by part, and their number of tokens."""

    step: int
    name: str
    members: dict[Part, dict[str, int]]
    """part -> id -> its row"""
    tokens: int

    @property
    def size(self) -> int:
        return sum(map(len, self.members.values()))


def score_run(
    run: Run,
    reference: Policy,
    *,
    top_k: int = 0,
    groups: int | None = None,
    resume: bool = False,
    first: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """Store the signals of a reference model for the groups of a run.

    ``groups``: at most this many groups; None: all. ``resume``: keep what is stored and score only what is missing;
    otherwise stored signals of this reference are replaced. ``first``: a trajectory whose group is scored first, followed by
    the others of its step. ``on_progress(done, total)`` counts the trajectories of this call.

    If the call is interrupted, what was scored is stored. Raises ActFocusError where the run has no trajectories, cannot be
    written, or was scored in another way (``resume``), and as ``score`` does.
    """
    found = _groups(run, first)
    metadata = {"reference": reference.name, "fingerprint": reference.fingerprint, "top_k": top_k}
    store = _Store(run, reference.name, metadata, resume)
    missing = [group for group in found if not store.has(group)]
    chosen = missing[:groups]
    total, done = sum(group.size for group in chosen), 0
    began = time.monotonic()
    with store.stored_in_any_case():
        for group in chosen:
            _score_group(group, reference, top_k, store)
            done += group.size
            if on_progress:
                on_progress(done, total)
    left = missing[len(chosen) :]
    return Scored(
        groups=len(chosen),
        trajectories=total,
        tokens=sum(group.tokens for group in chosen),
        seconds=time.monotonic() - began,
        groups_left=len(left),
        trajectories_left=sum(group.size for group in left),
        tokens_left=sum(group.tokens for group in left),
    )


def unscored_groups(run: Run, reference: str | None) -> int:
    """The number of groups without signals of a reference model, by its name; None: of all groups."""
    scored = {part: _scored_ids(run, part, reference) for part in run.parts()} if reference else {}
    return sum(
        not all(scored.get(part, set()).issuperset(ids) for part, ids in group.members.items())
        for group in _groups(run, None)
    )


def _scored_ids(run: Run, part: Part, reference: str) -> set[str]:
    file = part.annotation(run.path, reference)
    return stored_rows(file)[1] if file.exists() else set()


def _score_group(group: _Group, reference: Policy, top_k: int, store: _Store) -> None:
    """Score the trajectories of a group together, and give those of each part to its annotation."""
    trajectories = {part: store.trajectories(part, list(members.values())) for part, members in group.members.items()}
    score([t for members in trajectories.values() for t in members], reference, top_k=top_k)
    for part, members in trajectories.items():
        store.add(part, members)


def _groups(run: Run, first: str | None) -> list[_Group]:
    """The groups of a run in the order of its steps; that of ``first``, then the others of its step, come before."""
    table = run._index().table.select(["id", "group", "n_tokens"]).to_pydict()
    if not table["id"]:
        raise ActFocusError(f"{run.path}: has no trajectories to score yet")
    places = [(part, row) for part in run.parts() for row in range(len(run.ids_of(part)))]
    members: dict[tuple[int, str], dict[Part, dict[str, int]]] = {}
    tokens: dict[tuple[int, str], int] = {}
    wanted = None
    for id, name, size, (part, row) in zip(*table.values(), places, strict=True):
        key = (part.step, name)
        members.setdefault(key, {}).setdefault(part, {})[id] = row
        tokens[key] = tokens.get(key, 0) + size
        if id == first:
            wanted = key
    if first is not None and wanted is None:
        raise ActFocusError(f"{run.path}: no trajectory {first!r} in this run")
    found = [_Group(step, name, parts, tokens[step, name]) for (step, name), parts in members.items()]
    if wanted:
        found.sort(key=lambda group: ((group.step, group.name) != wanted, group.step != wanted[0]))
    return found


class _Store:
    """The annotations of all parts, each read when it is first needed and written now and then."""

    def __init__(self, run: Run, reference: str, metadata: dict[str, Any], resume: bool):
        self.run, self.reference, self.metadata, self.resume = run, reference, metadata, resume
        self._parts: dict[Part, GrowingAnnotation] = {}
        self._facts: dict[Part, RowGroups] = {}
        self._changed: set[Part] = set()
        self._stored_at, self._took = 0.0, 0.0

    def has(self, group: _Group) -> bool:
        """Whether all of a group is stored."""
        return all(self._part(part).scored.issuperset(ids) for part, ids in group.members.items())

    def trajectories(self, part: Part, rows: list[int]) -> list[Trajectory]:
        """The trajectories in these rows of a part, without the signals of any reference."""
        file = part.facts(self.run.path)
        if part not in self._facts:
            self._facts = {part: RowGroups(file)}  # one at a time: it keeps a row group in memory
        return to_trajectories(self._facts[part].take(rows), file)

    def add(self, part: Part, trajectories: list[Trajectory]) -> None:
        """Take trajectories that were scored, and store them unless that would slow the work down."""
        self._part(part).add(trajectories)
        self._changed.add(part)
        if time.monotonic() - self._stored_at >= STORE_SHARE * self._took:
            self._write()

    @contextmanager
    def stored_in_any_case(self) -> Iterator[None]:
        """Store what was scored when the block ends or is interrupted."""
        try:
            yield
        finally:
            self._write()

    def _part(self, part: Part) -> GrowingAnnotation:
        if part not in self._parts:
            made = GrowingAnnotation(self.run.path, part, self.reference, self.run.ids_of(part), self.metadata)
            if self.resume:
                made.resume()
            self._parts[part] = made
        return self._parts[part]

    def _write(self) -> None:
        began = time.monotonic()
        for part in sorted(self._changed):
            self._parts[part].store()
        self._changed.clear()
        self._stored_at = time.monotonic()
        self._took = self._stored_at - began
