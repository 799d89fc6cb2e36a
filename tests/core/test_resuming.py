"""A run that was stopped or killed and then resumed equals one that was never interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.policy import load_policy
from actfocus_core.runs import Run
from actfocus_core.train import read_status, request, resume, train
from actfocus_core.train.checkpoint import checkpoints
from tests.core.training_runs import config, results, threads


@pytest.mark.slow
def test_stopped_and_resumed_is_never_stopped(grpo, tmp_path):
    """A request after step 2, a checkpoint only every third step."""
    path = tmp_path / "run"

    def watch(phase, done, total):
        if phase == "train" and done == 2:
            request(path, "stop")

    train(config(steps=4, store_evaluation=True, checkpoint_every=3), path, watch)
    assert read_status(path)["state"] == "stopped" and len(results(path)) == 3
    assert load_policy(str(path / "policy"), device="cpu")
    resume(path)
    assert results(path) == results(grpo.path)
    assert (
        load_policy(str(path / "policy"), device="cpu").fingerprint
        == load_policy(str(grpo.path / "policy"), device="cpu").fingerprint
    )
    with pytest.raises(ActFocusError, match="is finished; increase steps"):
        resume(path)
    resume(path, steps=5)
    assert [row["step"] for row in results(path)] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("algorithm", ["grpo", pytest.param("ppo", marks=pytest.mark.slow)])
def test_killed_at_any_moment_and_resumed_is_never_killed(algorithm, grpo, ppo, tmp_path):
    """SIGKILL in the update of step 2, then while step 3 is logged, with checkpoints two steps apart."""
    whole, path = {"grpo": grpo, "ppo": ppo}[algorithm], tmp_path / "run"
    stored = {**whole.info["config"], "checkpoint_every": 2}
    stored.pop("command")
    begin = f"from actfocus_core.train import *; train(TrainConfig.of(**{stored!r}), {str(path)!r})"
    go_on = f"from actfocus_core.train import *; resume({str(path)!r})"

    def killed(code: str, when) -> None:
        process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": threads()})
        try:
            while process.poll() is None and not when():
                time.sleep(0.002)
        finally:
            process.kill()
        assert process.wait() == -signal.SIGKILL

    def updating(step: int) -> bool:
        status = read_status(path)
        return status.get("step") == step - 1 and status.get("phase") == "update"

    def logged(step: int) -> bool:
        return path.exists() and any(row["step"] == step for row in Run.open(path).metrics()[0])

    killed(begin, lambda: updating(2))
    assert read_status(path)["state"] == "killed" and checkpoints(path / "checkpoints") == []
    killed(go_on, lambda: logged(3))
    assert checkpoints(path / "checkpoints") == [2]
    # The worst a kill can leave: half a line, half a checkpoint.
    with open(path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "reward/ret')
    (path / "checkpoints" / ".step-00004.part").mkdir()
    subprocess.run([sys.executable, "-c", go_on], check=True, env={**os.environ, "OMP_NUM_THREADS": threads()})
    assert results(path) == results(whole.path)
    assert (
        load_policy(str(path / "policy"), device="cpu").fingerprint
        == load_policy(str(whole.path / "policy"), device="cpu").fingerprint
    )
    assert not list((path / "checkpoints").glob(".*"))


def test_a_run_is_resumed_only_with_the_model_it_began_with(grpo, run, tmp_path):
    with pytest.raises(ActFocusError, match="not a training run"):
        resume(run.path)
    copied = shutil.copytree(grpo.path, tmp_path / "copy")
    info = json.loads((copied / "run.json").read_text())
    info["model"]["fingerprint"] = "0" * 16
    (copied / "run.json").write_text(json.dumps(info))
    with pytest.raises(ActFocusError, match="no longer the model this run began with"):
        resume(copied, steps=9)
