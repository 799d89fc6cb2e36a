"""A training run killed at random moments, and resumed each time, is the run that was never killed."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from actfocus_core.runs import Run
from tests.faults.kills import rows

BETWEEN = """
import os, signal, sys
from pathlib import Path
from tests.faults.kills import ended, live, load_policy

def watch(event, arguments):
    if arguments and "signals/.step-00002" in str(arguments[0]):
        os.kill(os.getpid(), signal.SIGKILL)

load_policy("tiny", "cpu", "float32")
whole, killed = Path(sys.argv[1]) / "whole", Path(sys.argv[1]) / "killed"
assert ended(live(whole, 3)) == 0 and ended(live(killed, 3, watch)) == -signal.SIGKILL
print([p.name for p in sorted(killed.glob("trajectories/*"))], [p.name for p in sorted(killed.glob("signals/step*"))])
assert ended(live(killed, 3)) == 0
"""
"""Kills a run after the rollouts of step 2 have appeared and before its signals, and resumes it."""


@pytest.mark.parametrize(
    ("kills", "steps"), [(2, 3), pytest.param(50, 30, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_killed_again_and_again(kills, steps, tmp_path):
    """Nothing but the unfinished step is lost, every file can be read at every moment, and the end is the same to the bit."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.faults.kills", str(tmp_path), str(kills), str(steps), "1"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
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


def test_killed_between_the_rollouts_of_a_step_and_their_signals(tmp_path):
    """The resumed run stores the signals, and the results are those of an undisturbed run."""
    ended = subprocess.run(
        [sys.executable, "-c", BETWEEN, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0
    assert ended.stdout.strip() == "['step-00001.parquet', 'step-00002.parquet'] ['step-00001.tiny.parquet']"
    whole, killed = Run.open(tmp_path / "whole"), Run.open(tmp_path / "killed")
    for step in (1, 2, 3):
        assert killed.references(step) == ["tiny"]
        for expected, found in zip(whole.trajectories(step), killed.trajectories(step), strict=True):
            assert found.id == expected.id and found.signals.keys() == expected.signals.keys()
            assert all(
                np.array_equal(found.signals[name], values, equal_nan=True) for name, values in expected.signals.items()
            )
    timeless = [
        [
            {k: v for k, v in row.items() if not k.startswith("seconds/") and k != "tokens/per_second"}
            for row in rows(run.path)
        ]
        for run in (whole, killed)
    ]
    assert timeless[0] == timeless[1]
