"""The table of schemes and the scoreboards of a batch for the Compare page."""

from __future__ import annotations

from typing import Any, Literal

from actfocus_core.analysis.comparison import compare
from actfocus_core.analysis.scoreboard import Row, Truth, credits_of, scoreboard
from actfocus_core.credit import SCHEMES
from actfocus_studio.data.message import Message
from actfocus_studio.data.scored_batches import ScoredBatch
from actfocus_studio.data.view import View

TruthValues = Literal["policy", "optimal"]
TRUTHS: dict[str, tuple[TruthValues, str]] = {
    "policy": ("policy", "advantages of the policy, A^π"),
    "oracle": ("optimal", "advantages of the optimal policy, A*"),
}
"""Prefix of the signals of a ground truth -> its name in requests, and its title on the page."""


class KindShare(Message):
    """The tokens of one kind, and their share of the mass; null where there is none."""

    tokens: int
    token_share: float | None
    mass: float
    mass_share: float | None


class KindShares(Message):
    """By kind."""

    reasoning: KindShare
    action: KindShare
    format: KindShare


class MassShares(Message):
    """The distribution of weight or |credit| over response tokens."""

    kinds: KindShares
    tokens: int
    mass: float
    effective_tokens: float
    """(sum m)^2 / sum m^2"""


class SchemeRow(Message):
    """A scheme on a batch; null where a signal is missing."""

    scheme: str
    params: dict[str, float | str | bool | None]
    missing: list[str]
    weight: MassShares | None = None
    credit: MassShares | None = None
    sign_flips: float | None = None
    """Share of tokens whose credit has the opposite sign under Uniform; null where none has credit under both."""


class SchemeTable(Message):
    """All schemes on a batch."""

    schemes: list[SchemeRow]
    spearman: dict[str, dict[str, float | None]]
    """Rank correlation of the credit of two schemes; null where one is constant."""
    rollouts: int
    unscored: int
    """Rollouts without a return, which are left out."""
    without_signals: int
    """Rollouts that the reference has not scored yet, which are left out."""
    tokens: int
    """Response tokens."""


class BoardScore(Message):
    """A number of the scoreboard with its interval; without one, ``why``."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    why: str


class BoardRow(Message):
    """The scores of a scheme, or of the truth itself."""

    name: str
    focus: str
    """What the rankings rank: weight or credit."""
    scores: dict[str, BoardScore]
    """By the columns of the scoreboard."""


class TruthBoard(Message):
    """All schemes scored against one ground truth."""

    values: TruthValues
    truth: str
    """Its title."""
    rows: list[BoardRow]
    ceiling: BoardRow | None
    noise_floor: float | None
    """Mean difference of two estimates of the advantage; null where there is one estimate."""
    exact: bool
    turns: int
    left_out: int
    """Turns without action tokens."""
    rollouts: int
    skipped: int
    """Rollouts with too few distinct true values for a ranking."""
    unscored: list[str]
    """Schemes that lack a signal."""


def table(scored: ScoredBatch, view: View) -> SchemeTable:
    """The comparison of all schemes on a batch, including null controls where the view requests them."""
    batch = scored.batch
    comparison = compare(batch, credits_of(batch, list(SCHEMES), view.controls, view.scheme_params()))
    return SchemeTable(
        schemes=[_scheme_row(row) for row in comparison["schemes"]],
        spearman=comparison["spearman"],
        rollouts=len(batch.ids),
        unscored=scored.unscored,
        without_signals=scored.without_signals,
        tokens=int(batch.response.sum()),
    )


def boards(scored: ScoredBatch, view: View) -> list[TruthBoard]:
    """A scoreboard for each ground truth whose values the batch has."""
    batch = scored.batch
    available = [oracle for oracle in TRUTHS if batch.has(f"{oracle}_q") and batch.has(f"{oracle}_v")]
    if not available:
        return []
    credits = credits_of(batch, list(SCHEMES), view.controls, view.scheme_params())
    made = []
    for oracle in available:
        values, title = TRUTHS[oracle]
        board = scoreboard(batch, credits, Truth.of(batch, oracle))
        made.append(
            TruthBoard(
                values=values,
                truth=title,
                rows=[_board_row(row) for row in board.rows],
                ceiling=board.ceiling and _board_row(board.ceiling),
                noise_floor=board.noise_floor,
                exact=board.exact,
                turns=board.turns,
                left_out=board.left_out,
                rollouts=len(batch.ids),
                skipped=board.skipped,
                unscored=list(board.unscored),
            )
        )
    return made


def _scheme_row(row: dict[str, Any]) -> SchemeRow:
    facts = {name: row[name] for name in ("scheme", "params", "missing")}
    if row["missing"]:
        return SchemeRow(**facts)
    weight = {name: row[name] for name in MassShares.model_fields}
    return SchemeRow(
        **facts, weight=MassShares(**weight), credit=MassShares(**row["credit"]), sign_flips=row["sign_flips"]
    )


def _board_row(row: Row) -> BoardRow:
    return BoardRow(
        name=row.name, focus=row.focus, scores={name: BoardScore(**vars(score)) for name, score in row.scores.items()}
    )
