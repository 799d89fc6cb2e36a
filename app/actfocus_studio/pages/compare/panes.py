"""The trajectories of the Compare page's panes, and those that pane B may show."""

from __future__ import annotations

from typing import Annotated

import pandas as pd
from pydantic import Field

from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_studio.data.catalog import Catalog, Place
from actfocus_studio.data.message import Message
from actfocus_studio.data.schema import Tokens, Turn
from actfocus_studio.data.serialize import env_options, finite, played, tokens

PLACES_MAX = 200
"""Maximum number of (run, step) pairs listed for a prompt."""


class ComparePane(Message):
    """A trajectory in a pane."""

    run: str
    id: str
    step: int
    rollout: int
    return_: Annotated[float | None, Field(serialization_alias="return")]
    success: bool | None
    tokens: Tokens
    turns: list[Turn]


class CompareMember(Message):
    """A rollout that pane B may show."""

    id: str
    rollout: int
    return_: Annotated[float | None, Field(serialization_alias="return")]
    success: bool | None


class ComparePlace(Message):
    """The rollouts of the prompt in a step of a run."""

    run: str
    step: int
    members: list[CompareMember]


def pane(run: Run, name: str, id: str) -> ComparePane:
    """One trajectory. Raises ActFocusError for an id that is not in the run."""
    t = run.trajectory(id)
    return ComparePane(
        run=name,
        id=t.id,
        step=t.step,
        rollout=t.rollout,
        return_=finite(t.ret),
        success=t.success,
        tokens=tokens(t),
        turns=played(t),
    )


def places(catalog: Catalog, run: Run, name: str, place: Place) -> list[ComparePlace]:
    """Other rollouts of the prompt: in this step, in other steps and in other runs."""
    own = [CompareMember(id=m.id, rollout=m.rollout, return_=m.return_, success=m.success) for m in place.members]
    found = [ComparePlace(run=name, step=place.step, members=own)]
    task = _task(run)
    if task is None:
        return found
    index = run.index()
    seed = int(index.loc[index["id"] == place.id, "seed"].iloc[0])
    found += _played(run, name, seed, skip=place.step)
    for other in catalog.paths():
        if other == name or len(found) >= PLACES_MAX:
            continue
        try:
            candidate = catalog.open(other)
            if _task(candidate) == task:
                found += _played(candidate, other, seed)
        except ActFocusError:
            # A broken run is reported where it is opened.
            continue
    return found[:PLACES_MAX]


def _task(run: Run) -> tuple[str, dict] | None:
    """The environment and its options; None where the run does not record them, so prompts are not comparable."""
    return (run.metadata.env, env_options(run)) if run.metadata.env else None


def _played(run: Run, name: str, seed: int, skip: int = -1) -> list[ComparePlace]:
    """The rollouts of a prompt by step, except in the step ``skip``."""
    index = run.index()
    rows = index[(index["seed"] == seed) & (index["step"] != skip)]
    return [
        ComparePlace(run=name, step=int(step), members=[member(row) for _, row in members.iterrows()])
        for step, members in rows.groupby("step")
    ]


def member(row: pd.Series) -> CompareMember:
    """A row of a run's index."""
    return CompareMember(
        id=row["id"],
        rollout=int(row["rollout"]),
        return_=finite(float(row["return"])),
        success=None if pd.isna(row["success"]) else bool(row["success"]),
    )
