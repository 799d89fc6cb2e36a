"""Twenty people in one studio while a run trains."""

import pytest

from benchmarks.load import GOAL_MS, under_load

pytestmark = pytest.mark.browser


@pytest.mark.alone
def test_twenty_sessions_at_once_while_a_run_trains(tmp_path):
    """A sample of ``benchmarks/load.py``: each session three times as busy as a person is, for 25 seconds."""
    found = under_load(tmp_path, sessions=20, seconds=25, pause_ms=350)
    assert found["median_ms"] <= GOAL_MS, found
    assert found["strangers"] == []
    assert found["step_ms"]["n"] >= 60 and found["drag_ms"]["n"] >= 500 and found["training_steps"] >= 1, found
    assert found["megabytes"]["last"] - found["megabytes"]["half"] < 25, found["megabytes"]
