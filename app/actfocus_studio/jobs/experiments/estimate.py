"""Estimates of the duration of an experiment, from rates measured on this machine or from defaults."""

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
"""Default seconds per step and per evaluation, measured with the quick preset on one core."""
LANGUAGE_RATES = (60.0, 25.0)
"""The same for a language model of the size of SmolLM2, whose quick preset has few and short rollouts."""
EVALUATIONS = 6
"""Approximate number of evaluations of a run, not counting the one before training."""
LEAST_STEPS = 4
"""Minimum number of steps of a run."""
ROWS_READ = 1000
"""Maximum number of rows of metrics from which rates are computed."""


def expected(request: ExperimentRequest, step: float, evaluation: float) -> dict:
    """Number of steps per run, of runs, and total seconds, given the seconds per step and per evaluation.

    ``rate``: seconds per step, including evaluations.
    """
    runs = len(request.schemes) * request.seeds
    steps = max(LEAST_STEPS, int((request.limit - (EVALUATIONS + 1) * evaluation) / step))
    seconds = steps * step + evaluations(steps) * evaluation
    return {"steps": steps, "runs": runs, "seconds": seconds * runs, "rate": seconds / steps}


def rates(runs_dir: Path, env: str, algorithm: str, policy: str) -> tuple[tuple[float, float], bool]:
    """Seconds per step and per evaluation, and whether they were measured.

    They are measured on the newest run with the same environment, algorithm and policy, else they are defaults.
    """
    for path in sorted(runs_dir.glob("*/metrics.jsonl"), key=modified_time, reverse=True):
        try:
            run = Run.open(path.parent)
            metadata = run.metadata
            same = (metadata.env, metadata.algorithm, metadata.model_name) == (env, algorithm, policy)
            if same and isinstance(metadata.config, Training) and (measured := _measured(run.metrics(0, ROWS_READ)[0])):
                return measured, True
        except ActFocusError:
            continue
    return LANGUAGE_RATES if is_language_model(policy) else RATES[env, algorithm], False


def every(steps: int) -> int:
    """Number of steps between evaluations of a run."""
    return max(1, steps // EVALUATIONS)


def evaluations(steps: int) -> int:
    """Number of evaluations of a run, including those before the first and after the last step."""
    return 1 + math.ceil(steps / every(steps))


def _measured(rows: list[dict]) -> tuple[float, float] | None:
    """Seconds per step and per evaluation; None with too few steps or without timings."""
    took = [row["seconds/evaluate"] for row in rows if row.get("seconds/evaluate")]
    if not took or not rows[-1].get("seconds/elapsed") or rows[-1].get("step", 0) < LEAST_STEPS - 1:
        return None
    step = (rows[-1]["seconds/elapsed"] - sum(took)) / rows[-1]["step"]
    return (step, sum(took) / len(took)) if step > 0 else None
