"""The scoreboard: the schemes and their null controls against the true value of each turn."""

from __future__ import annotations

from markupsafe import Markup

from actfocus_core.analysis.scoreboard import COLUMNS, MIN_DISTINCT, Row, Score, Scoreboard
from actfocus_core.credit import HOW_TO_GET, SCHEMES
from actfocus_core.reports.templating import html

HEADS = {
    "where_advantage": "ranking: rho with |A|",
    "where_advantage_tau": "ranking: tau with |A|",
    "where_advantage_auroc": "ranking: AUROC, top |A|",
    "where_criticality": "ranking: rho with criticality",
    "where_criticality_tau": "ranking: tau with criticality",
    "where_criticality_auroc": "ranking: AUROC, top criticality",
    "right_group": "credit: rho with A in the group",
    "right_within": "credit: rho with A in the rollout",
    "right_sign": "credit: same sign as A",
    "luck": "credit: share on luck",
}
"""Short names of the scoreboard's columns."""


def draw(truth: str, board: Scoreboard) -> Markup:
    """The section of one ground truth, called ``truth``; null controls are collapsed."""
    schemes = [*(row for row in board.rows if ":" not in row.name), *([board.ceiling] if board.ceiling else [])]
    return html(
        "sections/scoreboard.html.j2",
        truth=truth,
        columns=["scheme", "ranked by", *(HEADS[column] for column in COLUMNS)],
        numbers=len(COLUMNS),
        schemes=[_cells(row) for row in schemes],
        controls=[_cells(row) for row in board.rows if ":" in row.name],
        board=board,
        noise_floor="unknown (no replica)" if board.noise_floor is None else f"{board.noise_floor:.3g}",
        threshold=f"{board.threshold:.3g}",
        least_distinct=MIN_DISTINCT,
        meanings=[{"head": HEADS[column], "text": text} for column, text in COLUMNS.items()],
    )


def unavailable() -> Markup:
    """The section of a run that has no true values."""
    return html("sections/no_truth.html.j2", cure=HOW_TO_GET["policy_q"])


def _cells(row: Row) -> list[str]:
    return [_title(row.name), row.focus, *(_score(row.scores[column]) for column in COLUMNS)]


def _title(name: str) -> str:
    """The label of a scoreboard's row: a scheme, a null control of one, or the ceiling."""
    if name == "ceiling":
        return "ground truth"
    control, _, scheme = name.rpartition(":")
    return f"{SCHEMES[scheme].title}, {control}" if control else SCHEMES[scheme].title


def _score(score: Score) -> str:
    """A score with its interval on a second line, or why there is none."""
    if score.value is None:
        return score.why
    return f"{score.value:.2f}" if score.low is None else f"{score.value:.2f}\n[{score.low:.2f}, {score.high:.2f}]"
