"""The numbers of the Groups page: the library's diagnosis of a run, and the rollouts of one group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actfocus_core.analysis.diagnostics import (
    BOTTLENECK_SIGNALS,
    MIN_GROUPS,
    PARTS,
    action_bottleneck,
    trend_band,
)
from actfocus_core.credit import Batch
from actfocus_core.errors import ActFocusError
from actfocus_core.reports.token_html import shown
from actfocus_core.runs import Run
from actfocus_core.signals import SIGNALS, signal_values
from actfocus_core.train.groups import filter_groups
from actfocus_core.trajectory import TokenKind, Trajectory
from actfocus_studio.data.batch_cache import BatchConstants
from actfocus_studio.data.cache import LruCache, stamp
from actfocus_studio.data.serialize import finite, numbers
from actfocus_studio.data.view import SCOPES

ROLLOUTS_MAX = 2048
"""Most rollouts that are analysed at once; of a longer run, the last steps that fit."""
KEEP = 0.25
"""The fraction of groups that the filter keeps if the run does not say (method.md section 6)."""


@dataclass(frozen=True)
class Diagnosis:
    """The analysis of the groups of a run, and the rollouts it was computed from."""

    found: dict
    """plain JSON but for the filter's choice"""
    steps: list[list[Trajectory]]
    """the rollouts with a return, one list per step, without their tokens"""

    def summary(self, share: float) -> dict:
        """The page's JSON, including which groups the filter keeps in each step."""
        kept = {(t.step, t.group) for step in self.steps for t in filter_groups(step, share)}
        groups = self.found["groups"]
        return {**self.found, "keep": share, "kept": [pair in kept for pair in zip(groups["step"], groups["name"])]}


def diagnosis(run: Run, step: int | None, reference: str | None, latest: LruCache[Diagnosis]) -> Diagnosis:
    """The analysis of one step, or of all with None; computed again when the run's files change."""
    steps = run.steps()
    if step is not None and step not in steps:
        raise ActFocusError(f"the run \u201c{run.name}\u201d has no step {step}")
    chosen = _fitting(run, steps) if step is None else [step]
    return latest.get((reference, len(steps), stamp(run, chosen)), lambda: diagnose(run, chosen, reference, len(steps)))


def _fitting(run: Run, steps: list[int]) -> list[int]:
    """The last steps with at most ROLLOUTS_MAX rollouts in total; at least one step."""
    counts = run.index()["step"].value_counts()
    together = np.cumsum([int(counts.get(step, 0)) for step in reversed(steps)])
    return steps[len(steps) - max(1, int(np.searchsorted(together, ROLLOUTS_MAX, side="right"))) :]


def diagnose(run: Run, steps: list[int], reference: str | None, of_steps: int) -> Diagnosis:
    """Read and analyse steps. ``reference`` is used in the steps that it scored."""
    read = [run.trajectories(step, reference if reference in run.references(step) else None) for step in steps]
    read = [[t for t in step if t.trainable] for step in read]
    everything = [t for step in read for t in step]
    scored = [t for t in everything if np.isfinite(t.ret)]
    if not scored:
        raise ActFocusError("no rollout has a return, so there is no spread to compare")
    batch = Batch.of(scored)
    bottleneck = action_bottleneck(batch)
    rows, first = bottleneck["groups"], np.unique(batch.group_of, return_index=True)[1]
    names = [name for name in rows[0] if name != "group"]
    return Diagnosis(
        {
            "groups": {
                "label": [row["group"] for row in rows],
                "name": [scored[i].group for i in first],
                "step": [scored[i].step for i in first],
                **{name: [row[name] for row in rows] for name in names},
            },
            "rollouts": {
                "group": batch.group_of[batch.counted].tolist(),
                "return": batch.returns[batch.counted].tolist(),
                "success": [finite(value) for value in batch.success[batch.counted].tolist()],
            },
            "correlations": bottleneck["correlations"],
            "confound": bottleneck["confound"],
            "missing": bottleneck["missing"],
            "signals": list(BOTTLENECK_SIGNALS),
            "least": MIN_GROUPS,
            "bands": {name: _band(rows, name) for name in names if name.endswith(tuple(PARTS))},
            "unscored": len(everything) - len(scored),
            "steps": [steps[0], steps[-1], len(steps), of_steps],
        },
        [[_light(t) for t in step if np.isfinite(t.ret)] for step in read],
    )


def _band(rows: list[dict], name: str) -> dict | None:
    """The regression of sigma on a group's mean signal."""
    known = [row for row in rows if row[name] is not None]
    return trend_band(np.array([row[name] for row in known]), np.array([row["sigma"] for row in known]))


def _light(t: Trajectory) -> Trajectory:
    """A trajectory without its tokens, as far as the filter needs it."""
    none = np.zeros(0)
    return Trajectory(
        t.id,
        none,
        none,
        none,
        none,
        [],
        group=t.group,
        step=t.step,
        reward=t.reward,
        penalty=t.penalty,
        rollout_id=t.rollout_id,
    )


def ribbons(run: Run, step: int, group: str, reference: str | None, batch: BatchConstants) -> list[dict]:
    """The rollouts of a group without their texts: kinds and signals of the sampled tokens.

    ``kinds``: one digit per response token; ``turns``: the indices among them at which a new turn begins;
    ``signals``: of the action tokens only, None if not recorded for all; ``stats``: mu and sigma by
    signal and scope, as for the weights. Raises ActFocusError if there is no such group.
    """
    mates = [t for t in run.trajectories(step, reference) if t.group == group]
    if not mates:
        raise ActFocusError(f"there is no group \u201c{group}\u201d in step {step} of this run")
    return [_ribbon(t, batch.of(t)) for t in mates]


def _ribbon(t: Trajectory, batch: dict) -> dict:
    written = t.response_mask
    action = t.kinds == TokenKind.ACTION
    signals = {
        name: numbers(values) if np.isfinite(values).all() else None
        for name in SIGNALS
        for values in [signal_values(t, name)[action]]
    }
    stats = {
        name: batch["signals"][name]
        and {scope: {part: batch["signals"][name][scope][part] for part in ("mu", "sigma")} for scope in SCOPES}
        for name in SIGNALS
    }
    return {
        "id": t.id,
        "rollout": t.rollout,
        "return": finite(t.ret),
        "success": t.success,
        "malformed": sum(not turn.valid for turn in t.turn_records),
        "truncated": t.truncated,
        "actions": [[shown(action) for action in turn.actions] for turn in t.turn_records],
        "kinds": "".join(map(str, t.kinds[written].tolist())),
        "turns": (np.flatnonzero(np.diff(t.turns[written])) + 1).tolist(),
        "signals": signals,
        "stats": stats,
    }
