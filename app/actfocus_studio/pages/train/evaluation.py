"""The stored evaluations of a run: success rates of the same prompts at every evaluated step."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from actfocus_core.outcomes import mean_known
from actfocus_core.runs import Run
from actfocus_studio.data import columns
from actfocus_studio.data.columns import Float64Column
from actfocus_studio.data.message import Message

EVALUATION = "t1"
"""The stored evaluation that the page shows: temperature 1 reveals differences that 0.5 hides."""


class PromptEvaluations(Message):
    """Success rates of the evaluation prompts at every evaluated step; NaN where unknown."""

    run: str
    """Its name as one that can be opened."""
    steps: list[int]
    prompts: list[int]
    """Their seeds."""
    success: list[Float64Column]
    """[prompts][steps], from 0 to 1."""
    mean: Float64Column
    """[steps], over prompts."""
    ids: list[list[str | None]]
    """[prompts][steps]: the first rollout."""


def evaluations(path: Path) -> PromptEvaluations | None:
    """The evaluations of a run; None where none is stored."""
    stored = Run.open(path).evaluation(EVALUATION) if path.is_dir() else None
    if stored is None:
        return None
    index = stored.index()
    steps = sorted(int(step) for step in index["step"].unique())
    seeds = sorted(int(seed) for seed in index["seed"].unique())
    found = index.groupby(["seed", "step"])
    rate, first = found["success"].mean().astype(float), found["id"].first()
    cells = np.array([[rate.get((seed, step), np.nan) for step in steps] for seed in seeds], np.float64)
    return PromptEvaluations(
        run=f"{path.name} evaluation {EVALUATION}",
        steps=steps,
        prompts=seeds,
        success=[columns.float64(row) for row in cells],
        mean=columns.float64([mean_known(column).mean for column in cells.T]),
        ids=[[first.get((seed, step)) for step in steps] for seed in seeds],
    )
