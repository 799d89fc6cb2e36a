"""What the What-if panel receives: stored answers, and their trajectories in typed columns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from actfocus_studio.data.columns import Float32Column
from actfocus_studio.data.message import Message
from actfocus_studio.data.schema import JobStatus, Tokens, Turn
from actfocus_studio.panels.whatif.results import (
    BranchAsked,
    BranchResult,
    EditAsked,
    EditResult,
    ReplayAsked,
    ReplayResult,
    Stored,
)


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
