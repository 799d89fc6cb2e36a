"""Questions and results of what-ifs, as the files of a run have them.

Another program may have written them: what the panel does not use is dropped, and what does not fit is one line that names the
field.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict

from actfocus_studio.data.message import Message

Match = Literal["rate", "norm"]


# --- requests and results, as stored ------------------------------------------------------------


class Stored(Message):
    """A part of a stored file."""

    model_config = ConfigDict(extra="ignore")


Badges = Annotated[list[str], BeforeValidator(lambda badges: [badge for badge in badges if isinstance(badge, str)])]
"""Caveats for the reader."""


class ReplayAsked(Stored):
    step: int
    schemes: Annotated[list[str], BeforeValidator(lambda rows: [row["scheme"] for row in rows])]
    match: Match = "rate"
    evaluation: int = 0
    """Number of evaluation prompts."""
    groups: list[str] | None = None
    """Names of the groups in the update; null for an update of a training run."""


class BranchAsked(Stored):
    trajectory: str
    turn: int
    token: int | None = None
    rollouts: int = 0
    action: str | None = None
    text: str | None = None


class EditAsked(Stored):
    trajectory: str
    turn: int
    text: str = ""


class MeanChange(Stored):
    """Mean change of the log-probability; null where there are no tokens."""

    mean: float | None


class ChangeBySign(Stored):
    """By sign of the advantage."""

    up: MeanChange
    down: MeanChange


class ChangeByKind(Stored):
    reasoning: ChangeBySign
    action: ChangeBySign


class ReplayEvaluation(Stored):
    """Success rate on the evaluation prompts; its gain over the rate before the update, with a 95 % interval."""

    success: float
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None


class ReplayedUpdate(Stored):
    """The update under one scheme."""

    scheme: str
    own: bool
    """It is the scheme that the run was trained with."""
    gradient_norm: float | None
    update_norm: float | None
    change: ChangeByKind
    reproduced: float | None
    """Largest difference of a parameter to the stored next checkpoint."""
    evaluation: ReplayEvaluation | None = None


class ReplayResult(Stored):
    updates: list[ReplayedUpdate]
    cosine_gradient: list[list[float | None]]
    cosine_update: list[list[float | None]]
    own: str | None = None
    lr: float
    trajectories: int
    tokens: int
    before: ReplayEvaluation | None = None
    so_far: int | None = None
    """Of a partial result: its number of trajectories."""
    badges: Badges = []


class MeanInterval(Stored):
    """Mean of n values with a 95 % interval, null for a single value."""

    mean: float
    low: float | None
    high: float | None
    n: int


class SuccessRate(Stored):
    rate: float


class TurnValue(Stored):
    """Return-to-go of the actions of a turn under optimal play."""

    turn: float | None


class StateValue(Stored):
    """Return-to-go of a state under optimal play."""

    value: float


class BranchNode(Stored):
    """One distinct outcome of a turn, and those of the next turn."""

    actions: list[str]
    valid: bool = True
    ended: bool = False
    count: int
    to_go: MeanInterval
    success: SuccessRate
    optimal: TurnValue | None
    ids: list[str]
    children: list[BranchNode]


class BranchedTurn(Stored):
    """The turn as it was stored."""

    actions: list[str]
    to_go: float


class BranchResult(Stored):
    tree: list[BranchNode]
    to_go: MeanInterval
    success: SuccessRate
    original: BranchedTurn
    optimal: StateValue | None
    badges: Badges = []


Pair = tuple[float | None, float | None]
"""Before and after the edit."""


class EditEnergy(Stored):
    """Mean energy of the edited span and of the tokens after it."""

    span: Pair
    later: Pair


class EditScheme(Stored):
    """Share of the trajectory's weight by kind and sum of |credit|, each before and after; none where a signal is missing."""

    missing: list[str]
    share: list[dict[str, float | None]] = []
    credit: list[float | None] = []


class EditResult(Stored):
    span: tuple[int, int]
    new_span: tuple[int, int]
    shift: int
    """Of the positions of the tokens after the edit."""
    replaced: str
    text: str
    energy: EditEnergy
    schemes: dict[str, EditScheme]
    badges: Badges = []
