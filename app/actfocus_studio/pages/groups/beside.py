"""The rollouts of one group side by side: who they are, and the tokens of those in a column."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.trajectory import Trajectory
from actfocus_studio.data import columns
from actfocus_studio.data.batch_cache import BatchConstants
from actfocus_studio.data.columns import Int32Column
from actfocus_studio.data.message import Message
from actfocus_studio.data.schema import Tokens, Turn
from actfocus_studio.data.serialize import finite, played, tokens


class GroupMember(Message):
    """A rollout of a group."""

    id: str
    rollout: int
    return_: Annotated[float | None, Field(serialization_alias="return")]
    success: bool | None
    advantage: float | None
    """GRPO's; null where the rollout was never scored, or is not trained."""
    tokens: int
    truncated: bool
    malformed: int
    """Turns that are malformed or illegal."""


class GroupColumn(Message):
    """The tokens of a rollout, with their ids, by which rollouts are aligned."""

    member: int
    """Its position in the group."""
    ids: Int32Column
    tokens: Tokens
    turns: list[Turn]


class Beside(Message):
    """The rollouts of a group in the order of the run, and some of them as columns."""

    members: list[GroupMember]
    columns: list[GroupColumn]


def beside(run: Run, step: int, group: str, batch: BatchConstants, chosen: list[int]) -> Beside:
    """The rollouts of a group, and those at the positions ``chosen`` as columns; positions that it does not have are left out.

    Raises ActFocusError if there is no such group.
    """
    index = run.index()
    rows = index[(index["step"] == step) & (index["group"] == group)]
    if rows.empty:
        raise ActFocusError(f"there is no group \u201c{group}\u201d in step {step} of this run")
    success = rows["success"].to_numpy(object, na_value=None)
    members = [
        GroupMember(
            id=row["id"],
            rollout=int(row["rollout"]),
            return_=finite(float(row["return"])),
            success=None if known is None else bool(known),
            advantage=batch.advantages.get(row["id"]),
            tokens=int(row["n_tokens"]),
            truncated=bool(row["truncated"]),
            malformed=int(row["n_turns"] - row["n_valid"]),
        )
        for (_, row), known in zip(rows.iterrows(), success)
    ]
    there = [k for k in dict.fromkeys(chosen) if k < len(members)]
    return Beside(members=members, columns=[_column(k, run.trajectory(members[k].id)) for k in there])


def _column(position: int, t: Trajectory) -> GroupColumn:
    ids = columns.int32(np.asarray(t.token_ids, np.int64))
    return GroupColumn(member=position, ids=ids, tokens=tokens(t), turns=played(t))
