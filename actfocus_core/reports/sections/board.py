"""The scoreboard: the schemes and their null controls against the true value of each turn."""

from __future__ import annotations

from html import escape

from actfocus_core.analysis.scoreboard import COLUMNS, LEAST_DISTINCT, Row, Score, Scoreboard
from actfocus_core.credit import HOW_TO_GET, SCHEMES
from actfocus_core.reports.elements import section, table

HEADS = {
    "where_advantage": "where: rho with |A|",
    "where_advantage_tau": "where: tau with |A|",
    "where_advantage_auroc": "where: AUROC, top |A|",
    "where_criticality": "where: rho with criticality",
    "where_criticality_tau": "where: tau with criticality",
    "where_criticality_auroc": "where: AUROC, top criticality",
    "right_group": "right: rho in the group",
    "right_within": "right: rho in the rollout",
    "right_sign": "right: same sign",
    "luck": "mass on luck",
}
"""Short names of the scoreboard's columns."""


def draw(name: str, board: Scoreboard) -> str:
    """The section of one ground truth, called ``name``; null controls are folded away."""

    def scored(rows: list[Row]) -> str:
        lines = [[_title(row.name), row.focus, *(_score(row.scores[c]) for c in COLUMNS)] for row in rows]
        return table(["scheme", "ranked by", *(HEADS[c] for c in COLUMNS)], lines, numbers=len(COLUMNS))

    schemes = [*(row for row in board.rows if ":" not in row.name), *([board.ceiling] if board.ceiling else [])]
    controls = [row for row in board.rows if ":" in row.name]
    floor = "unknown, there is no replica" if board.noise_floor is None else f"{board.noise_floor:.3g}"
    meaning = "".join(f"<li>{escape(HEADS[column])}: {escape(text)}</li>" for column, text in COLUMNS.items())
    folded = (
        f"<details><summary>{len(controls)} null controls</summary>{scored(controls)}</details>" if controls else ""
    )
    return section(
        f"Against {name}",
        scored(schemes)
        + folded
        + (
            f"<p>Values are {'exact' if board.exact else 'estimates'}; noise floor (mean |A - its replica|) {floor}; signs are "
            f"asked for where |A| is above {board.threshold:.3g}. {board.left_out} of {board.turns} turns have no action and are "
            f"left out; {board.skipped} trajectories have fewer than {LEAST_DISTINCT} different true values and rank nothing. "
            f"The ceiling is the truth itself, or where it is an estimate an independent second one, as a scheme. Brackets: 95 % bootstrap intervals over "
            f'trajectories.</p><ul class="soft">{meaning}</ul>'
        ),
    )


def unavailable() -> str:
    """The section of a run that has no true values."""
    return section("Against the truth", f"<p>Unavailable: {escape(HOW_TO_GET['policy_q'])}.</p>")


def _title(name: str) -> str:
    """The label of a scoreboard's row: a scheme, a null control of one, or the ceiling."""
    control, _, scheme = name.rpartition(":")
    return "the truth itself" if name == "ceiling" else f"{SCHEMES[scheme].title}{f', {control}' if control else ''}"


def _score(score: Score) -> str:
    if score.value is None:
        return score.why
    around = "" if score.low is None else f"\n[{score.low:.2f}, {score.high:.2f}]"
    return f"{score.value:.2f}{around}"
