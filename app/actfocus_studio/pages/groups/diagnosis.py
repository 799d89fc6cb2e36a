"""The numbers of the Groups page: the library's diagnosis of the groups of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from actfocus_core.analysis.diagnostics import MIN_GROUPS, PARTS, action_bottleneck, trend_band
from actfocus_core.credit import Batch
from actfocus_core.errors import ActFocusError
from actfocus_core.outcomes import numbers
from actfocus_core.runs import Run
from actfocus_core.train.groups import filter_groups
from actfocus_core.trajectory import Trajectory
from actfocus_studio.data import columns
from actfocus_studio.data.cache import LruCache, stamp
from actfocus_studio.data.columns import Float64Column, Int32Column, TextColumn, Uint8Column
from actfocus_studio.data.message import Message

ROLLOUTS_MAX = 2048
"""Most rollouts that are analysed at once; of a longer run, the last steps that fit."""
KEEP = 0.25
"""The fraction of groups that the filter keeps if the run does not say (method.md section 6)."""


class GroupColumns(Message):
    """One value per group, in the order of the library's table."""

    label: TextColumn
    """Unique among these groups."""
    name: TextColumn
    """Within its step."""
    step: Int32Column
    rollouts: Int32Column
    sigma: Float64Column
    """Standard deviation of the returns."""
    mean_return: Float64Column
    success: Float64Column
    """Rate among the rollouts of which it is known."""
    unknown_success: Int32Column
    """Rollouts of which it is not."""
    means: dict[str, Float64Column]
    """SIGNAL_PART -> mean signal over the tokens of that part."""


class RolloutColumns(Message):
    """One value per rollout."""

    group: Int32Column
    """Index of its group."""
    return_: Annotated[Float64Column, Field(serialization_alias="return")]
    success: Float64Column


class GroupCorrelation(Message):
    """Spearman's rho of sigma with a mean signal over groups, with bootstrap intervals; null where ``why`` says so."""

    signal: str
    part: str
    n: int
    rho: float | None
    p: float | None
    low: float | None
    high: float | None
    rho_success: float | None
    partial: float | None
    """Given the success rate p."""
    partial_low: float | None
    partial_high: float | None
    partial_spread: float | None
    """Given p and p (1 - p)."""
    why: str


class Confound(Message):
    """The correlation of sigma with the success rate p and with p (1 - p)."""

    rho_success: float | None
    rho_spread: float | None
    binary: bool
    """Returns take at most two values, so sigma is a function of p."""


class GroupTrend(Message):
    """The regression of sigma on a mean signal, with its band."""

    x: Float64Column
    y: Float64Column
    low: Float64Column
    high: Float64Column


class StepRange(Message):
    """The steps that were analysed."""

    first: int
    last: int
    count: int
    of: int
    """All steps of the run."""


class GroupsFound(Message):
    """What does not depend on the filter."""

    groups: GroupColumns
    rollouts: RolloutColumns
    correlations: list[GroupCorrelation]
    confound: Confound
    missing: list[str]
    """Signals that are not recorded."""
    least: int
    """Groups that a correlation needs."""
    trends: dict[str, GroupTrend | None]
    """By SIGNAL_PART."""
    unscored: int
    """Rollouts without a return, which are left out."""
    steps: StepRange


class GroupsDiagnosis(GroupsFound):
    """The diagnosis, and what the filter of groups keeps."""

    keep: float
    """The fraction that it keeps of each step."""
    own: bool
    """The run itself says which fraction is kept."""
    kept: Uint8Column
    """By group: 1 if it is kept."""


@dataclass(frozen=True)
class Diagnosis:
    """The analysis of the groups of a run, and the rollouts it was computed from."""

    found: GroupsFound
    groups: list[tuple[int, str]]
    """step and name, in the order of ``found``"""
    steps: list[list[Trajectory]]
    """the rollouts with a return, one list per step, without their tokens"""

    def summary(self, chosen: float | None, own: float | None) -> GroupsDiagnosis:
        """The answer to the page; the filter keeps the ``chosen`` fraction of groups, else the run's ``own``."""
        keep = chosen or own or KEEP
        kept = {(t.step, t.group) for step in self.steps for t in filter_groups(step, keep)}
        return GroupsDiagnosis(
            **vars(self.found),
            keep=keep,
            own=own is not None,
            kept=columns.uint8(group in kept for group in self.groups),
        )


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
    rows = bottleneck["groups"]
    first = [scored[i] for i in np.unique(batch.group_of, return_index=True)[1]]
    means = {name: numbers(row[name] for row in rows) for name in rows[0] if name.endswith(tuple(PARTS))}
    sigma = numbers(row["sigma"] for row in rows)
    found = GroupsFound(
        groups=_group_columns(rows, first, means),
        rollouts=RolloutColumns(
            group=columns.int32(batch.group_of[batch.counted]),
            return_=columns.float64(batch.returns[batch.counted]),
            success=columns.float64(batch.success[batch.counted]),
        ),
        correlations=[GroupCorrelation(**row) for row in bottleneck["correlations"]],
        confound=Confound(**bottleneck["confound"]),
        missing=bottleneck["missing"],
        least=MIN_GROUPS,
        trends={name: _trend(values, sigma) for name, values in means.items()},
        unscored=len(everything) - len(scored),
        steps=StepRange(first=steps[0], last=steps[-1], count=len(steps), of=of_steps),
    )
    light = [[_light(t) for t in step if np.isfinite(t.ret)] for step in read]
    return Diagnosis(found, [(t.step, t.group) for t in first], light)


def _group_columns(rows: list[dict[str, Any]], first: list[Trajectory], means: dict[str, np.ndarray]) -> GroupColumns:
    def of(name: str) -> Iterable[Any]:
        return (row[name] for row in rows)

    return GroupColumns(
        label=columns.text(of("group")),
        name=columns.text(t.group for t in first),
        step=columns.int32(t.step for t in first),
        rollouts=columns.int32(of("rollouts")),
        sigma=columns.float64(numbers(of("sigma"))),
        mean_return=columns.float64(numbers(of("mean_return"))),
        success=columns.float64(numbers(of("success"))),
        unknown_success=columns.int32(of("unknown_success")),
        means={name: columns.float64(values) for name, values in means.items()},
    )


def _trend(mean: np.ndarray, sigma: np.ndarray) -> GroupTrend | None:
    known = np.isfinite(mean)
    band = trend_band(mean[known], sigma[known])
    return band and GroupTrend(**{name: columns.float64(values) for name, values in band.items()})


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
