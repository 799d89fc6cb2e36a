"""How long an experiment takes: from the rates that this machine was measured at, or from a first guess."""

from __future__ import annotations

import math
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.paths import modified_time
from actfocus_core.runs import Run
from actfocus_core.runs.info import Training
from actfocus_core.train.presets import is_language_model
from actfocus_studio.jobs.experiments.request import ExperimentRequest

RATES = {
    ("frozen_lake", "grpo"): (3.0, 3.5),
    ("frozen_lake", "ppo"): (4.9, 3.5),
    ("sokoban", "grpo"): (4.9, 5.0),
    ("sokoban", "ppo"): (6.5, 5.0),
    ("sudoku", "grpo"): (6.0, 7.0),
    ("sudoku", "ppo"): (9.0, 7.0),
    ("webshop", "grpo"): (5.0, 9.0),
    ("webshop", "ppo"): (8.0, 9.0),
}
"""Seconds a step and an evaluation take with the quick preset on one core: a first guess until this machine has trained once."""
LANGUAGE_RATES = (60.0, 25.0)
"""The same for a language model of the size of SmolLM2, whose quick preset has few and short rollouts."""
EVALUATIONS = 6
"""Evaluations of a run after the one before training, about."""
LEAST_STEPS = 4
"""Steps of a run, however slow they are."""
ROWS_READ = 1000
"""Rows of a run's metrics that its rates are measured on."""


def expected(asked: ExperimentRequest, step: float, evaluation: float) -> dict:
    """Steps of each run and seconds of the whole experiment, where a step and an evaluation take so many seconds.

    ``rate``: seconds a step, its share of the evaluations included.
    """
    runs = len(asked.schemes) * asked.seeds
    steps = max(LEAST_STEPS, int((asked.limit - (EVALUATIONS + 1) * evaluation) / step))
    seconds = steps * step + evaluations(steps) * evaluation
    return {"steps": steps, "runs": runs, "seconds": seconds * runs, "rate": seconds / steps}


def rates(runs_dir: Path, env: str, algorithm: str, policy: str) -> tuple[tuple[float, float], bool]:
    """Seconds a step and an evaluation, and whether they were measured: on the newest run of this kind that
    took some steps, or the first guess."""
    for path in sorted(runs_dir.glob("*/metrics.jsonl"), key=modified_time, reverse=True):
        try:
            run = Run.open(path.parent)
            told = run.metadata
            same = (told.env, told.algorithm, told.model_name) == (env, algorithm, policy)
            if same and isinstance(told.config, Training) and (found := _measured(run.metrics(0, ROWS_READ)[0])):
                return found, True
        except ActFocusError:
            continue
    return LANGUAGE_RATES if is_language_model(policy) else RATES[env, algorithm], False


def every(steps: int) -> int:
    """Steps between the evaluations of a run."""
    return max(1, steps // EVALUATIONS)


def evaluations(steps: int) -> int:
    """How many evaluations a run has, those before its first step and after its last included."""
    return 1 + math.ceil(steps / every(steps))


def _measured(rows: list[dict]) -> tuple[float, float] | None:
    """Seconds a step and an evaluation; None where too few steps were taken or they do not say."""
    took = [row["seconds/evaluate"] for row in rows if row.get("seconds/evaluate")]
    if not took or not rows[-1].get("seconds/elapsed") or rows[-1].get("step", 0) < LEAST_STEPS - 1:
        return None
    step = (rows[-1]["seconds/elapsed"] - sum(took)) / rows[-1]["step"]
    return (step, sum(took) / len(took)) if step > 0 else None
