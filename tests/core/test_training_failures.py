"""Training that cannot continue: one line that says why, and the last checkpoint is kept."""

import json
import resource
import shutil

import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.train import read_status, resume, train
from actfocus_core.train.checkpoint import checkpoints
from tests.core.training_runs import config, results


def test_a_loss_that_is_not_a_number_stops_with_the_last_checkpoint(tmp_path):
    """One good step; then a rate at which the second pass over the batch overflows."""
    train(config(steps=1, eval_every=0), tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    info = json.loads(file.read_text())
    info["config"] |= {"lr": 1e30, "epochs": 2, "kl_coef": 0.1}
    file.write_text(json.dumps(info))
    with pytest.raises(
        ActFocusError, match=r"step 2: the gradient of the policy .*from the checkpoint of step 1"
    ) as error:
        resume(tmp_path / "run", steps=5)
    assert "\n" not in str(error.value) and checkpoints(tmp_path / "run/checkpoints") == [1]
    status = read_status(tmp_path / "run")
    assert status["state"] == "failed" and "gradient" in status["message"]


def test_a_full_disk_stops_with_the_last_checkpoint(tmp_path):
    """A limit on the size of a file stands in for the disk: the same error at the same place."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def watch(phase, done, total):
        if phase == "train" and done == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))

    try:
        with pytest.raises(ActFocusError, match="cannot be written.*from the checkpoint of step 1"):
            train(config(steps=3, eval_every=0, mass_every=0), tmp_path / "run", watch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoints(tmp_path / "run/checkpoints") == [1] and not list((tmp_path / "run/checkpoints").glob(".*"))
    assert resume(tmp_path / "run") and [row["step"] for row in results(tmp_path / "run")] == [1, 2, 3]


def test_a_folder_that_vanished_is_said_and_does_not_come_back(tmp_path):
    def watch(phase, done, total):
        if phase == "train" and done == 1:
            shutil.rmtree(tmp_path / "run")

    with pytest.raises(ActFocusError, match="cannot be written"):
        train(config(steps=3, eval_every=0, mass_every=0), tmp_path / "run", watch)
    assert not (tmp_path / "run").exists()


def test_a_collapsed_format_is_said_and_stops_if_asked(model_folder, tmp_path):
    """A model with random weights never answers in the format."""
    values = dict(
        model=str(model_folder),
        env_options={"response_tokens": 8, "max_turns": 2},
        steps=3,
        eval_every=0,
        scheme="uniform",
        entropy_coef=0.0,
    )
    run = train(config(**values, stop_on_format_collapse=True), tmp_path / "stops")
    (row,) = results(run.path)
    assert row["format/well_formed"] < 0.1 and row["format/collapsed"] == 1 and row["loss/skipped"] == 1
    status = read_status(run.path)
    assert status["state"] == "stopped" and "format collapse: 0% of the turns" in status["message"]
    assert len(results(train(config(**values), tmp_path / "goes-on").path)) == 3
