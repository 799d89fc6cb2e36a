"""What several pages receive: tokens in typed columns, turns as they are drawn, constants of a batch, jobs."""

from __future__ import annotations

from typing import Literal

from actfocus_studio.data.columns import Int32Column, TextColumn, Uint8Column
from actfocus_studio.data.message import Message


class Tokens(Message):
    """The tokens of a trajectory, as parallel columns."""

    text: TextColumn
    """As a page shows it."""
    kind: Uint8Column
    """``TokenKind``"""
    turn: Int32Column
    """-1 before the first turn."""


class TurnLabel(Message):
    """How good the actions of a turn were, by the oracle of optimal play."""

    value: float
    """Of the state before the turn."""
    after: float
    """Expected after its actions."""
    actions: list[str]
    costs: list[float]
    """By action: how much the best one would have gained."""
    skill: float
    luck: float
    lost: int | None
    """Index of the action after which the goal could not be reached any more."""
    facts: dict[str, int | float | str | bool | None]
    """What the oracle knows about the state before the turn."""


class ShopButton(Message):
    label: str
    action: str
    note: str
    group: str
    chosen: bool


class ShopPage(Message):
    """A page of the shop as text and buttons."""

    instruction: str
    title: str
    lines: list[str]
    search: bool
    buttons: list[ShopButton]


class Turn(Message):
    """A turn as it is drawn; the last one of a trajectory, ``end``, is the state after it."""

    end: bool = False
    actions: list[str] = []
    valid: bool = True
    malformed: bool = False
    reward: float | None = None
    penalty: float | None = None
    oracle: TurnLabel | None = None
    picture: str | None = None
    """SVG of the state before the answer."""
    page: ShopPage | None = None


class SigmoidSums(Message):
    """Of the sigmoid s over the action tokens of a batch: sums of s, s^2, |A| s, A^2 s and A^2 s^2."""

    s1: float
    s2: float
    a1: float
    b1: float
    b2: float


class Statistics(Message):
    """One signal standardised within one scope, and the sums over the batch that follow (``data/batch_cache.py``)."""

    mu: float
    sigma: float
    count: int
    """Action tokens of the scope."""
    sums: SigmoidSums


class KindSums(Message):
    """Of the tokens of one kind: their number, and the sums of |A| and A^2."""

    n: int
    a1: float
    a2: float


class Kinds(Message):
    """By kind."""

    reasoning: KindSums
    action: KindSums
    format: KindSums


class Scopes(Message):
    """By scope."""

    batch: Statistics
    group: Statistics
    trajectory: Statistics


class BatchSums(Message):
    """What a page needs of a batch to follow a slider without the server."""

    trajectories: int
    unscored: int
    """Further trajectories of the step that the reference did not score, and that no sum contains; or, for one of these
    trajectories, their number."""
    kinds: Kinds
    signals: dict[str, Scopes | None]
    """By signal; null where an action token lacks it."""
    ranges: dict[str, tuple[float, float] | None]
    """By signal: 1st and 99th percentile over the response tokens."""
    advantage: float | None
    advantage_max: float


class JobStatus(Message):
    """The progress of a process that the studio started."""

    state: Literal["idle", "running", "done", "failed", "cancelled"]
    id: str
    run: str
    """Name of the run that is created or processed."""
    phase: str
    done: int
    total: int
    seconds_left: float | None
    message: str


class ScoredSample(Message):
    """What a computation of signals did, and how much is left at its pace."""

    groups: int
    groups_left: int
    seconds: float
    seconds_left: float | None


class SignalsJob(Message):
    """The computation of signals that all pages share."""

    job: JobStatus
    reference: str
    """The reference model that it scores with; empty for values of the oracle."""
    sample: ScoredSample | None
    """Once it is done."""
