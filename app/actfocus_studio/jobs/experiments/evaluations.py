"""Final evaluations of an experiment's runs, and paired comparisons of its schemes over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run, stamp
from actfocus_core.stats import gain_interval

SUCCESS = "eval/t1/success"
"""The metric that is compared: success rate on the evaluation prompts at temperature 1."""
BASELINE = "uniform"
"""The scheme that all others are compared with."""
LEAST_SEEDS = 3
"""With fewer seeds no difference is reported."""

Finals = Mapping[str, Mapping[int, float | None]]
"""Scheme -> seed -> success rate in the run's last evaluation; None where a finished run has none."""


def final_evaluations(runs_dir: Path, runs: Sequence[dict]) -> Finals:
    """The last evaluation of every finished run. ``runs``: those of ``Experiments.look``."""
    finals: dict[str, dict[int, float | None]] = {}
    for run in runs:
        if run["state"] == "finished":
            finals.setdefault(run["scheme"], {})[run["seed"]] = _final(runs_dir / run["name"])
    return finals


def comparisons(schemes: Sequence[str], finals: Finals) -> list[dict]:
    """The difference in final success rate between each scheme and the baseline, paired by seed.

    One dict per scheme: ``scheme``, ``baseline``, the number of ``seeds`` that finished under both, and with at least
    LEAST_SEEDS of them ``mean``, ``low`` and ``high`` (``stats.gain_interval`` over seeds), else None.
    Empty without the baseline.
    """
    if BASELINE not in schemes:
        return []
    return [_comparison(scheme, finals) for scheme in dict.fromkeys(schemes) if scheme != BASELINE]


def _comparison(scheme: str, finals: Finals) -> dict:
    base, own = finals.get(BASELINE, {}), finals.get(scheme, {})
    gains = [a - b for seed, a in own.items() if a is not None and (b := base.get(seed)) is not None]
    mean, low, high = gain_interval(np.array(gains)) if len(gains) >= LEAST_SEEDS else (None, None, None)
    return {"scheme": scheme, "baseline": BASELINE, "seeds": len(gains), "mean": mean, "low": low, "high": high}


def _final(path: Path) -> float | None:
    """The last evaluation in a run's metrics; None where there is none, or the metrics cannot be read."""
    try:
        return _read_final(path, stamp(path / "metrics.jsonl"))
    except ActFocusError:
        # The page shows this error with the run.
        return None


@lru_cache(maxsize=256)
def _read_final(path: Path, _stamp: tuple) -> float | None:
    """Cached by the stamp of the metrics: a page asks every few seconds, and a finished run no longer changes."""
    rows, _ = Run.open(path).metrics()
    values = [row[SUCCESS] for row in rows if isinstance(row.get(SUCCESS), (int, float)) and np.isfinite(row[SUCCESS])]
    return float(values[-1]) if values else None
