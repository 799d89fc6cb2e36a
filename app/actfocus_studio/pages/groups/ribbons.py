"""The rollouts of one group without their texts: kinds and signals of the sampled tokens."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from actfocus_core.errors import ActFocusError
from actfocus_core.reports.token_html import shown
from actfocus_core.runs import Run
from actfocus_core.signals import SIGNALS, signal_values
from actfocus_core.trajectory import TokenKind, Trajectory
from actfocus_studio.data import columns
from actfocus_studio.data.batch_cache import BatchConstants
from actfocus_studio.data.columns import Float32Column, Int32Column, Uint8Column
from actfocus_studio.data.message import Message
from actfocus_studio.data.schema import Scopes
from actfocus_studio.data.serialize import finite


class Ribbon(Message):
    """A rollout as a ribbon of its response tokens."""

    id: str
    rollout: int
    return_: Annotated[float | None, Field(serialization_alias="return")]
    success: bool | None
    malformed: int
    """Turns that are malformed or illegal."""
    truncated: bool
    actions: list[list[str]]
    """By turn."""
    kinds: Uint8Column
    """Of the response tokens."""
    turns: Int32Column
    """The response tokens at which a new turn begins."""
    signals: dict[str, Float32Column | None]
    """Of the action tokens; null where it was not recorded for all."""
    stats: dict[str, Scopes | None]
    """By signal, as for the weights."""


def ribbons(run: Run, step: int, group: str, reference: str | None, batch: BatchConstants) -> list[Ribbon]:
    """The rollouts of a group. Raises ActFocusError if there is no such group."""
    mates = [t for t in run.trajectories(step, reference) if t.group == group]
    if not mates:
        raise ActFocusError(f"there is no group \u201c{group}\u201d in step {step} of this run")
    return [_ribbon(t, batch) for t in mates]


def _ribbon(t: Trajectory, batch: BatchConstants) -> Ribbon:
    written, action = t.response_mask, t.kinds == TokenKind.ACTION
    signals = {name: signal_values(t, name)[action] for name in SIGNALS}
    return Ribbon(
        id=t.id,
        rollout=t.rollout,
        return_=finite(t.ret),
        success=t.success,
        malformed=sum(not turn.valid for turn in t.turn_records),
        truncated=t.truncated,
        actions=[[shown(action) for action in turn.actions] for turn in t.turn_records],
        kinds=columns.uint8(t.kinds[written]),
        turns=columns.int32(np.flatnonzero(np.diff(t.turns[written])) + 1),
        signals={
            name: columns.float32(values) if np.isfinite(values).all() else None for name, values in signals.items()
        },
        stats=batch.of(t).signals,
    )
