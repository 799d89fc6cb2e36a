"""A run with known true values of every turn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from actfocus_core.runs import Run
from actfocus_core.trajectory import response_mask


def with_truth(path: Path, scored: Run) -> Run:
    """A copy of step 0 of a scored run, with random but exact values of both oracles for every turn."""
    run = Run.create(path, scored.info["config"], {"name": "scripted"})
    rng = np.random.default_rng(3)
    batch = scored.trajectories(0)
    for t in batch:
        response, turns = response_mask(t.kinds), int(t.turns.max()) + 1
        for oracle in ("policy", "oracle"):
            v, a = rng.random(turns), rng.normal(size=turns)
            for name, values in (
                (f"{oracle}_v", v),
                (f"{oracle}_q", v + a),
                (f"{oracle}_v_replica", v),
                (f"{oracle}_q_replica", v + a),
            ):
                t.signals[name] = np.where(response, values[np.maximum(t.turns, 0)], np.nan).astype(np.float32)
    run.add_trajectories(0, batch)
    run.annotate(0, "scripted", batch)
    return run
