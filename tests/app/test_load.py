"""Many people in one studio while a run trains; how fast it answers them is measured in ``benchmarks/load.py``."""

import pytest

from benchmarks.load import under_load

pytestmark = [pytest.mark.browser, pytest.mark.alone]


@pytest.mark.parametrize(
    ("sessions", "pages", "seconds", "pause_ms"),
    [(7, 3, 12, 350), pytest.param(20, 20, 600, 3000, marks=pytest.mark.slow)],
    ids=["sample", "whole"],
)
def test_nobody_sees_what_is_another_s_and_memory_stays_flat(chromium, tmp_path, sessions, pages, seconds, pause_ms):
    found = under_load(chromium, tmp_path, sessions, seconds, pause_ms, pages=pages)
    assert found["strangers"] == []
    # What was done is enough to say so.
    assert (
        min(
            found[what]["n"]
            for what in ("step_ms", "turn_ms", "drag_ms", "plain_step_ms" if pages < sessions else "answer_ms")
        )
        >= 3
    ), found
    # The first half is the caches' filling.
    assert found["megabytes"]["last"] - found["megabytes"]["half"] < 30, found["megabytes"]
