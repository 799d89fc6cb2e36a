"""A training run killed at random moments, and resumed each time, is the run that was never killed."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("kills", "steps"), [(2, 3), pytest.param(50, 30, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_killed_again_and_again(kills, steps, tmp_path):
    """Nothing but the unfinished step is lost, every file can be read at every moment, and the end is the same to the bit."""
    ended = subprocess.run([sys.executable, "-m", "tests.faults.kills", str(tmp_path), str(kills), str(steps), "1"],
                           stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ended.returncode == 0
    told = json.loads(ended.stdout)
    assert told["equal"] and told["weights"] and told["steps"] == list(range(steps + 1)) and told["left"] == []
    done = 0
    for kill in told["kills"]:
        assert kill["killed"] in ("", "killed") and done <= kill["kept"] <= kill["rows"] + 1, kill
        # A step that was said to be done has its checkpoint; a row more is that of a step whose checkpoint was not yet whole.
        assert kill["said"] <= kill["kept"] and kill["rows"] <= kill["kept"] + 1, kill
        done = kill["kept"]
    assert len(told["kills"]) == kills or kills < 50
