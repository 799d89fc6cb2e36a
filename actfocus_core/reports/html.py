"""The report of a run as one HTML file that opens offline: no script, no request to any address.

Everything from the run (configuration, names, the tokens themselves) enters as escaped text.
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
from actfocus_core.paths import atomic_write
from actfocus_core.reports import palette, templating
from actfocus_core.reports.sections import bottleneck, card, overview, rollout, schemes
from actfocus_core.reports.sections import scoreboard as scoreboard_section
from actfocus_core.runs import Run

LIMITS = (
    "Energy is a proxy: it indicates where the reference model was uncertain, not which token mattered. Only the "
    "scoreboard compares credit with the true value of an action.",
    "Energy is computed from raw logits and is comparable only within one reference model: adding a constant to the "
    "logits of a position changes its energy and no probability. The z-score over the batch removes an offset common "
    "to all positions; centred energy (ours) removes one offset per position.",
    "The mean and standard deviation that enter a weight are those of this batch: in another batch, the same trajectory "
    "has other weights.",
    "Most of the shift of gradient mass is due to alpha: compare ActFocus with role only and energy only.",
    "Gradient mass is nominal here: the coefficient on the gradient of a token's log-probability at ratio 1. It includes "
    "neither the norms of those gradients nor the effect of clipping.",
    "A small alpha increases the effective step size on action tokens: compare schemes at equal gradient norm too.",
    "The action bottleneck is a correlation across groups, not across tokens. Where returns take two values, sigma is a "
    "function of the success rate, so any signal that follows difficulty correlates with it.",
)
"""What the numbers of the report do not show."""
GROUND_TRUTHS = {"the policy's advantage": "policy", "perfect play": "oracle"}
"""Names of the ground truths in the report, and whose values they are."""


def write_report(
    run: Run, out: Path, step: int, reference: str | None = None, *, bootstrap: int = 200
) -> dict[str, Any]:
    """Write the report of the batch of one step to ``out`` atomically, replacing an earlier file.

    ``bootstrap``: number of resamples behind an interval. Returns the path, the size in bytes and the facts of
    ``render``. Raises ActFocusError if the run has no such step or reference, or the path cannot be written.
    """
    text, facts = render(run, step, reference, bootstrap=bootstrap)
    try:
        with atomic_write(out) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ActFocusError(f"{out}: cannot be written ({error.strerror})") from None
    return {"report": str(out), "bytes": len(text.encode()), **facts}


def render(run: Run, step: int, reference: str | None = None, *, bootstrap: int = 200) -> tuple[str, dict[str, Any]]:
    """The report as HTML, and its facts.

    Facts: names of the ``schemes`` that were computed, of the ``unavailable`` ones, and of the ground truths against
    which they were ``scored``. Raises ActFocusError if the run has no such step or reference.
    """
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
    page = templating.html(
        "report.html.j2",
        run=run.name,
        light=palette.LIGHT,
        dark=palette.DARK,
        channels=palette.channels,
        sections=sections,
        limits=LIMITS,
        version=__version__,
    )
    facts = {"schemes": [row["scheme"] for row in rows], "unavailable": sorted(missing), "scored": sorted(boards)}
    return str(page), facts


def _scoreboards(batch: Batch, schemes: list[str], bootstrap: int) -> dict[str, Scoreboard]:
    """A scoreboard for each ground truth that the batch has."""
    return {
        name: scoreboard(batch, credits_of(batch, schemes), Truth.of(batch, oracle), bootstrap=bootstrap)
        for name, oracle in GROUND_TRUTHS.items()
        if batch.has(f"{oracle}_q") and batch.has(f"{oracle}_v")
    }
