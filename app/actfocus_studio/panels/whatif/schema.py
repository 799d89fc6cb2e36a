"""What the What-if panel receives: stored answers, and their trajectories in typed columns.

Requests and results are read from the files of a run, which another program may have written: what the panel does not use
is dropped, and what does not fit is one line that names the field.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from actfocus_studio.data.columns import Float32Column
from actfocus_studio.data.message import Message
from actfocus_studio.data.schema import JobStatus, Tokens, Turn

Match = Literal["rate", "norm"]


class WhatIfStatus(JobStatus):
    """The progress of a what-if, and the id of its result."""

    kind: str
    answer: str
    """Id of the what-if, once it is complete."""
    kept: bool
    """Stored in the run's folder; otherwise the result lasts until the studio ends."""
    seconds: float
    first: str
    """Id of the what-if, once a partial result is available."""
    first_seconds: float


class EditableTurn(Message):
    """A turn of the trajectory, as far as the forms need it."""

    actions: list[str]
    response: str
    legal: list[str]
    """Legal actions in the state before the turn."""
    span: tuple[int, int] | None
    """First response token, and the one after the last."""


class WhatIfFacts(Message):
    """What the panel can do with the trajectory."""

    run: str
    trajectory: str
    group: str
    step: int
    model: str | None
    why: str | None
    """The reason if it can do nothing."""
    trained: bool
    steps: list[int]
    """Steps whose update can be replayed."""
    own: str | None
    """The scheme that the run was trained with."""
    turns: list[EditableTurn]


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


# --- stored answers -------------------------------------------------------------------------------


class StoredAnswer(Message):
    id: str
    kept: bool
    """Stored in the run's folder; otherwise it lasts until the studio ends."""


class StoredReplay(StoredAnswer):
    kind: Literal["replay"]
    request: ReplayAsked


class StoredBranch(StoredAnswer):
    kind: Literal["branch"]
    request: BranchAsked


class StoredEdit(StoredAnswer):
    kind: Literal["edit"]
    request: EditAsked


Listed = Annotated[StoredReplay | StoredBranch | StoredEdit, Field(discriminator="kind")]


class StoredAnswers(Message):
    """The what-ifs of the run, newest first."""

    answers: list[Listed]


# --- one answer, with its trajectories --------------------------------------------------------------


class WhatIfTokens(Tokens):
    logprob: Float32Column
    """Under the policy, when it sampled the token; nats."""
    energy: Float32Column


class WhatIfPane(Message):
    """A trajectory, with a picture of every state and the oracle's labels of its actions."""

    id: str
    group: str
    rollout: int
    return_: Annotated[float | None, Field(serialization_alias="return")]
    success: bool | None
    terminated: bool
    truncated: bool
    tokens: WhatIfTokens
    turns: list[Turn]


class UpdateColumns(Message):
    """The effect of one update on every token; NaN outside the responses."""

    after: Float32Column
    """Log-probability under the updated policy."""
    change: Float32Column
    weight: Float32Column
    advantage: Float32Column


class ReplayedTrajectory(Message):
    id: str
    group: str
    rollout: int
    return_: Annotated[float | None, Field(serialization_alias="return")]
    moved: float | None
    """Mean |change| of the log-probabilities, the largest of all schemes."""


class ReplayShown(StoredReplay):
    """A replay, and one of its trajectories."""

    run: str
    result: ReplayResult
    trajectories: list[ReplayedTrajectory]
    top: float
    """|change| at which the colours saturate."""
    pane: WhatIfPane
    before: Float32Column
    """Log-probability before the update."""
    schemes: dict[str, UpdateColumns]


class BranchShown(StoredBranch):
    """A branch, one of its outcomes, and the trajectory that was branched."""

    run: str
    result: BranchResult
    outcome: WhatIfPane
    original: WhatIfPane


class CreditColumns(Message):
    """Weight and effective credit of every token; NaN outside the responses."""

    weight: Float32Column
    credit: Float32Column


class EditPane(WhatIfPane):
    schemes: dict[str, CreditColumns]


class EditShown(StoredEdit):
    """An edit: the original and the edited trajectory."""

    run: str
    result: EditResult
    original: EditPane
    edited: EditPane
    range: tuple[float, float] | None
    """1st and 99th percentile of the energy in both."""


# --- the walkthrough --------------------------------------------------------------------------------


class MotionParams(Stored):
    """Parameters of the scheme, where it has them."""

    alpha: float | None = None
    beta: float | None = None


class MotionSignal(Message):
    """The signal that the weights were computed from, standardised over the action tokens of the batch."""

    name: str
    values: Float32Column
    z: Float32Column
    """NaN outside the actions."""
    mean: float
    std: float
    count: int
    """Action tokens of the batch."""


class MotionColumns(Message):
    """By token; NaN outside the responses."""

    advantage: Float32Column
    weight: Float32Column
    loss: Float32Column
    """-w A / Z: the token's term of the loss at ratio 1."""
    share: Float32Column
    """|w A| as a fraction of its sum over the batch."""
    before: Float32Column
    after: Float32Column
    change: Float32Column
    """Log-probability before and after the update, and the difference."""


class Motion(Message):
    """One update on one trajectory, for the walkthrough."""

    id: str
    scheme: str
    params: MotionParams
    lr: float
    update_norm: float | None
    gradient_norm: float | None
    trajectories: int
    returns: list[float | None]
    """Of the rollouts of the group."""
    divisor: float
    """Z: sum of the weights of the mini-batch."""
    signal: MotionSignal | None
    """Null for a scheme that reads no signal."""
    columns: MotionColumns
    pane: WhatIfPane
