"""The credit that the Compare page shows, computed from the stored trajectories."""

from __future__ import annotations

import numpy as np

from actfocus_core.credit import Batch, get_scheme
from actfocus_core.runs import Run


def credit_of(run: Run, scheme: str, id: str, **params) -> np.ndarray:
    """Effective credit of a trajectory times the response tokens of its batch; NaN where the policy did not sample."""
    t = run.trajectory(id)
    batch = Batch.of(run.trajectories(t.step))
    credit = get_scheme(scheme).compute(batch, **params).effective() * batch.response.sum()
    return np.where(t.response_mask, credit[batch.index == batch.ids.index(id)], np.nan)
