"""The power fails while a run trains: what has reached the disk is enough to go on. See images.py."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.faults.images import make_volume, mounted

UNSYNCED = (
    "import sys, actfocus_core.train.checkpoint as c; c.sync = lambda path: None; import tests.faults.images as i; "
)


@pytest.fixture(autouse=True)
def volumes(tmp_path):
    """Skips where no ext4 volume in a file can be mounted."""
    if os.getuid() or not (shutil.which("mkfs.ext4") and shutil.which("losetup")):
        pytest.skip("an ext4 volume in a file takes root, mkfs.ext4 and losetup")
    try:
        with mounted(make_volume(tmp_path / "probe"), tmp_path / "disk"):
            pass
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"an ext4 volume in a file cannot be mounted here ({error})")
    (tmp_path / "probe").unlink()
    yield
    # If the process that mounted it was killed.
    subprocess.run(["umount", "--lazy", str(tmp_path / "disk")], capture_output=True)


def images(tmp_path, count: int, command: list[str]) -> list[dict]:
    ended = subprocess.run(
        [sys.executable, *command, str(tmp_path), str(count), "1"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0
    return json.loads(ended.stdout)


@pytest.mark.parametrize("count", [4, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_a_loss_of_power_leaves_a_whole_checkpoint_and_costs_the_unfinished_step_alone(count, tmp_path):
    found = images(tmp_path, count, ["-m", "tests.faults.images"])
    assert len(found) == count and [image["amid"] for image in found] == [number % 2 == 1 for number in range(count)]
    for image in found:
        # Every checkpoint that was saved has reached the disk, and no step up to the last one is done again.
        assert image["whole"] and image["whole"][-1] >= image["said"] and image["code"] == 0, image
        assert image["first"] == image["whole"][-1] + 1, image
        assert image["equal"] and image["signals"], image


@pytest.mark.slow
def test_the_images_show_what_is_not_synced(tmp_path):
    """The experiment can fail: without a sync no checkpoint survives, and training starts again at step 0."""
    for image in images(tmp_path, 4, ["-c", UNSYNCED + "i.main(sys.argv[1], *map(int, sys.argv[2:4]))"]):
        assert image["there"] and not image["whole"] and image["first"] == 1 and image["equal"], image
