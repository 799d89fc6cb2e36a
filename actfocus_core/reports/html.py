"""A run as one HTML file: it opens offline, holds no script, and asks no address.

What comes from the run (configuration, names, the tokens themselves) enters as escaped text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actfocus_core import __version__
from actfocus_core.analysis.comparison import compare
from actfocus_core.analysis.diagnostics import action_bottleneck
from actfocus_core.analysis.scoreboard import Scoreboard, Truth, credits_of, scoreboard
from actfocus_core.credit import SCHEMES, Batch
from actfocus_core.errors import ActFocusError
from actfocus_core.paths import appearing
from actfocus_core.reports import templating
from actfocus_core.reports.sections import bottleneck, card, overview, rollout, schemes
from actfocus_core.reports.sections import scoreboard as scoreboard_section
from actfocus_core.runs import Run

LIMITS = (
    "Energy is a proxy: it says where the reference model was unsure, not which token mattered. Only the oracle "
    "compares with what an action was worth.",
    "Energy needs raw logits and compares only inside one reference model: a constant added to a position's logits "
    "moves it and changes no probability. The z-score over the batch removes an offset of all positions alone; the "
    "centred energy (ours) removes it a position.",
    "The mean and deviation behind a weight belong to this batch. A trajectory has other weights in another batch.",
    "Most of the move of gradient mass comes from alpha: compare ActFocus with role only and energy only.",
    "Mass here is nominal: the coefficient on the gradient of a token's log-probability at ratio 1. How long those "
    "gradients are, and what clipping does later, is another matter.",
    "A small alpha raises the effective step of every action token: compare schemes at equal gradient norm too.",
    "The action bottleneck correlates groups, not tokens. Where returns take two values, sigma is a function of the "
    "success rate, so any signal that follows difficulty correlates with it.",
)
GROUND_TRUTHS = {"the policy's advantage": "policy", "perfect play": "oracle"}
"""Names of the ground truths in the report, and whose values they are."""


def write_report(
    run: Run, out: Path, step: int, reference: str | None = None, *, bootstrap: int = 200
) -> dict[str, Any]:
    """Write the report of one step's batch to ``out``, which appears whole or not at all.

    Replaces an earlier file. Returns what was written: path, bytes, schemes with and without
    numbers. Raises ActFocusError for a step or reference that is not there, or a path that
    cannot be written.
    """
    text, facts = render(run, step, reference, bootstrap=bootstrap)
    try:
        with appearing(out) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ActFocusError(f"{out}: cannot be written ({error.strerror})") from None
    return {"report": str(out), "bytes": len(text.encode()), **facts}


def render(run: Run, step: int, reference: str | None = None, *, bootstrap: int = 200) -> tuple[str, dict[str, Any]]:
    """The HTML, and what it holds: ``schemes`` with numbers, ``unavailable`` ones, and whether ``scored``."""
    trajectories = run.trajectories(step, reference)
    batch = Batch.of(trajectories)
    compared = compare(batch, credits_of(batch, list(SCHEMES), controls=False))
    rows = [row for row in compared["schemes"] if not row["missing"]]
    missing = {row["scheme"]: row["missing"] for row in compared["schemes"] if row["missing"]}
    boards = _scoreboards(batch, [row["scheme"] for row in rows], bootstrap)
    names = run.references(step)
    used = reference or (names[0] if names else None)
    sections = [
        overview.summary(run, step, trajectories, used),
        overview.settings(run, used),
        overview.returns(run, trajectories),
        schemes.draw(compared, rows, missing),
        bottleneck.draw(action_bottleneck(batch, bootstrap=bootstrap)),
        *(
            [scoreboard_section.draw(name, board) for name, board in boards.items()]
            or [scoreboard_section.unavailable()]
        ),
        rollout.draw(trajectories, batch),
        card.draw(run, step, trajectories, rows, boards, used, bootstrap),
    ]
    page = templating.html("report.html.j2", run=run.name, sections=sections, limits=LIMITS, version=__version__)
    facts = {"schemes": [row["scheme"] for row in rows], "unavailable": sorted(missing), "scored": sorted(boards)}
    return str(page), facts


def _scoreboards(batch: Batch, schemes: list[str], bootstrap: int) -> dict[str, Scoreboard]:
    """A scoreboard for each ground truth that the batch has."""
    return {
        name: scoreboard(batch, credits_of(batch, schemes), Truth.of(batch, oracle), bootstrap=bootstrap)
        for name, oracle in GROUND_TRUTHS.items()
        if batch.has(f"{oracle}_q") and batch.has(f"{oracle}_v")
    }
