"""What the schemes do with a batch, as the Compare page shows it: plain JSON values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actfocus_core.analysis.comparison import compare
from actfocus_core.analysis.scoreboard import Truth, credits_of, scoreboard
from actfocus_core.credit import SCHEMES, Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_studio.data.cache import LruCache, stamp
from actfocus_studio.data.serialize import numbers, plain
from actfocus_studio.data.view import KEPT, View

TUNED = "actfocus"
"""The scheme that follows the controls in the sidebar; all others have their own defaults."""
TOP = 95
"""Percentile of |credit| over the response tokens at which the colour is full: a few outliers do not
bleach all the rest."""
TRUTHS = {"policy": ("policy", "the policy’s own advantage"), "oracle": ("optimal", "perfect play")}
"""Whose values -> what the page calls them and how it says it."""


@dataclass(frozen=True)
class Compared:
    """One step's batch, without the rollouts that another trainer never scored: they have no advantage."""

    batch: Batch
    unscored: int
    """rollouts left out"""

    @classmethod
    def of(cls, run: Run, step: int, reference: str | None) -> Compared:
        """Raises ActFocusError where not one rollout has a return."""
        trajectories = run.trajectories(step, reference)
        scored = [t for t in trajectories if np.isfinite(t.ret)]
        if not scored:
            raise ActFocusError(f"no rollout of step {step} has a return, so no scheme gives credit")
        return cls(Batch.of(scored), len(trajectories) - len(scored))


class Batches:
    """The batches looked at last."""

    def __init__(self, size: int = 4):
        self._latest: LruCache[Compared] = LruCache(size)

    def get(self, run: Run, step: int, reference: str | None) -> Compared:
        """The batch of a step under a reference; read once until the run's files change."""
        return self._latest.get((reference, stamp(run, [step])), lambda: Compared.of(run, step, reference))


def params(view: View) -> dict[str, dict]:
    """Scheme -> parameters that are not its defaults."""
    return {TUNED: {"alpha": view.alpha, "beta": view.beta, "signal": view.signal}}


def token_credit(compared: Compared, name: str, view: View, id: str) -> tuple[dict, float]:
    """A scheme's effective credit of one trajectory, and where its scale ends.

    Credit is c times N, the response tokens of the batch: under Uniform the advantage itself, and so
    comparable between batches. ``credit`` is a value a token, None where the scheme lacks a
    signal (``missing``) or the trajectory has no return.
    """
    batch = compared.batch
    given = view.kept_params() if name == KEPT else params(view).get(name.rpartition(":")[2], {})
    credit = get_scheme(TUNED if name == KEPT else name).compute(batch, **given)
    if credit.missing or id not in batch.ids:
        return {"credit": None, "missing": list(credit.missing)}, 0.0
    scaled = credit.effective() * batch.response.sum()
    size = np.abs(scaled[batch.response])
    top = float(np.percentile(size, TOP)) or float(size.max(initial=0.0))
    return {"credit": numbers(scaled[batch.index == batch.ids.index(id)]), "missing": []}, top


def table(compared: Compared, view: View) -> dict:
    """What ``actfocus_core.analysis.comparison.compare`` says of every scheme, with the null controls where the view asks."""
    batch = compared.batch
    found = compare(batch, credits_of(batch, list(SCHEMES), view.controls, params(view)))
    return plain(found) | {
        "rollouts": len(batch.ids),
        "unscored": compared.unscored,
        "tokens": int(batch.response.sum()),
    }


def boards(compared: Compared, view: View) -> list[dict]:
    """A scoreboard for each truth that the batch carries."""
    batch = compared.batch
    known = [of for of in TRUTHS if batch.has(f"{of}_q") and batch.has(f"{of}_v")]
    if not known:
        return []
    credits = credits_of(batch, list(SCHEMES), view.controls, params(view))
    return [
        plain(scoreboard(batch, credits, Truth.of(batch, of)).to_dict())
        | {"values": TRUTHS[of][0], "truth": TRUTHS[of][1], "rollouts": len(batch.ids)}
        for of in known
    ]
