"""Where a run resumes: the checkpoint to load, the steps whose data are incomplete, and the warnings about both.

Nothing here changes the run; the session loads the checkpoint and reports the warnings.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.train.checkpoint import start_from, whole_checkpoints
from actfocus_core.train.config import TrainConfig
from actfocus_core.trajectory import Trajectory

_NAMED = 5
"""Largest number of steps that a warning lists."""


@dataclass(frozen=True)
class Resumption:
    """Where a run resumes, and the problems of its stored data."""

    start: int
    """the step of the checkpoint to load; 0 where there is none and training starts at the beginning"""
    warnings: list[str]
    """in the order in which they are reported"""


def resumption(
    run: Run, config: TrainConfig, names: Sequence[str], logged: Collection[int], scores_every_rollout: bool
) -> Resumption:
    """The newest whole checkpoint, or an older one if a step after that lacks part of what it stores.

    ``names``: the tensor files of a checkpoint; ``logged``: the steps with a row of metrics; ``scores_every_rollout``: whether
    the reference's signals of every stored step are stored too. If no checkpoint is whole, training starts again at
    step 0: the randomness of a step depends on the seed and its number alone, so this is the same run, and what is
    stored already is left unchanged.
    """
    whole, defects = whole_checkpoints(run.path / "checkpoints", names)
    found = lacking(run, config, whole[-1], logged, scores_every_rollout) if whole else {}
    start = start_from(whole, found)
    warnings = [
        f"skipped the checkpoint of step {step}: it is not whole ({defects[step]})" for step in defects if step > start
    ]
    if defects and not whole:
        warnings.append("no checkpoint is whole: training starts again at step 0")
    for missing in sorted(set(found.values())):
        warnings += _warnings_of([step for step in found if found[step] == missing], missing, start)
    return Resumption(start, warnings)


def lacking(
    run: Run, config: TrainConfig, last: int, logged: Collection[int], scores_every_rollout: bool
) -> dict[int, str]:
    """Step -> what is missing of its rollouts, their signals and its row of metrics, for the incomplete steps up to ``last``."""
    rollouts = set(run.steps())
    signals = run.annotated_steps(config.model)
    found: dict[int, str] = {}
    for step in range(0 if config.eval_every else 1, last + 1):
        lacks = [] if step in logged else ["metrics"]
        if stores(config, step) and scores_every_rollout and step not in signals:
            lacks.insert(0, "signals")
        if stores(config, step) and step not in rollouts:
            lacks.insert(0, "rollouts")
        if lacks:
            found[step] = " and ".join(lacks)
    return found


def stores(config: TrainConfig, step: int) -> bool:
    """Whether the rollouts of a step are to be stored."""
    return bool(step and config.store_every) and step % config.store_every == 0


def are_stored(run: Run, step: int, trajectories: list[Trajectory]) -> bool:
    """Whether the stored rollouts of a step have exactly these tokens."""
    try:
        stored = {t.id: t.token_ids for t in run.trajectories(step)}
    except ActFocusError:
        return False
    return stored.keys() == {t.id for t in trajectories} and all(
        np.array_equal(stored[t.id], t.token_ids) for t in trajectories
    )


def _warnings_of(steps: list[int], missing: str, start: int) -> list[str]:
    """Warnings: which incomplete steps are repeated from ``start``, and which are left unchanged."""
    warnings = []
    again, stay = [s for s in steps if s > start], [s for s in steps if s <= start]
    if again:
        warnings.append(f"{_named(again)} without {missing}: repeated from the checkpoint of step {start}")
    if stay:
        hint = "`actfocus score` adds them" if missing == "signals" else "they stay missing"
        warnings.append(f"{_named(stay)} without {missing}, and no earlier checkpoint is kept; {hint}")
    return warnings


def _named(steps: list[int]) -> str:
    """``step 3``, ``steps 3, 4 and 9``, or the first few and how many more there are."""
    if len(steps) == 1:
        return f"step {steps[0]}"
    shown, more = steps[:_NAMED], len(steps) - _NAMED
    return (
        f"steps {', '.join(map(str, shown))} and {more} more"
        if more > 0
        else f"steps {', '.join(map(str, shown[:-1]))} and {shown[-1]}"
    )
