from __future__ import annotations

import pytest

from actfocus_core.analysis.validate import diagnose
from actfocus_core.runs import Run


@pytest.fixture
def doctor(tmp_path):
    """Store rollouts as a run and check it; returns rule -> finding."""

    def doctor(trajectories, metrics=(), config=None, provenance=None, **options):
        run = Run.create(tmp_path / "run", {"command": "rollout", **(config or {})})
        for step in sorted({t.step for t in trajectories}):
            run.add_trajectories(step, [t for t in trajectories if t.step == step])
        for row in metrics:
            run.log(row)
        if provenance:
            from actfocus_core.runs.info import write_info

            run.info["provenance"] = provenance
            write_info(run.path, run.info)
        return {finding.check: finding for finding in diagnose(Run.open(run.path), **options).findings}

    return doctor
