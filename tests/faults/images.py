"""A loss of power while a run trains: python -m tests.faults.images FOLDER IMAGES SEED

The run lies on an ext4 volume in a file. To take an image, the trainer is stopped and the file is copied: the copy holds what
a disk holds when the power fails at that moment, that is what was written back to it and nothing that was only in the page
cache. Each image is mounted, which replays its journal, and the run on it is resumed. Every other image is taken at a random
time, the rest right before a random audit event in the folder of checkpoints, mostly while one is written. Prints a JSON list.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from actfocus_core.errors import ActFocusError
from actfocus_core.policy import load_policy
from actfocus_core.train import read_status, resume
from actfocus_core.train.checkpoint import checkpoints, load_checkpoint
from tests.faults.kills import ended, live, rows

MEGABYTES = 96
ENDLESS = 1_000_000
EVENTS = 30
"""Audit events in the folder of checkpoints a step, roughly."""
STEP_SECONDS = 0.06
"""Seconds of computing a step, roughly."""


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def make_volume(image: Path) -> Path:
    with open(image, "wb") as file:
        file.truncate(MEGABYTES << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    return image


def copy(image: Path, to: Path) -> None:
    """Copy the file as it is at one moment: once more if the system wrote to the volume meanwhile."""
    loop = subprocess.run(
        ["losetup", "-n", "-O", "NAME", "-j", str(image)], check=True, capture_output=True, text=True
    ).stdout.split()[0]
    counters = Path("/sys/block") / Path(loop).name / "stat"

    def written() -> list[str]:
        """Sectors written so far, and requests in flight."""
        numbers = counters.read_text().split()
        return [numbers[6], numbers[8]]

    before = None
    while before is None or before[1] != "0" or before != written():
        time.sleep(0.005)
        before = written()
        subprocess.run(["cp", "--sparse=always", str(image), str(to)], check=True)


def stopping(path: Path, left: mmap.mmap) -> Callable[[str, tuple], None]:
    """An audit hook that counts ``left`` down with each event in the folder of checkpoints and stops its process at 0."""

    def watch(event: str, arguments: tuple) -> None:
        if left[0] and arguments and str(path / "checkpoints") in str(arguments[0]):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGSTOP)

    return watch


def stopped(process: int) -> None:
    _, status = os.waitpid(process, os.WUNTRACED)
    assert os.WIFSTOPPED(status), "the trainer ended"


def take(folder: Path, count: int, dice: random.Random) -> list[dict]:
    """Train on a volume and take ``count`` images of it."""
    image, found = make_volume(folder / "volume"), []
    left = mmap.mmap(-1, 1)
    with mounted(image, folder / "disk") as disk:
        path = disk / "run"
        trainer = live(path, ENDLESS, stopping(path, left))
        try:
            while read_status(path).get("step", 0) < 2 and os.waitpid(trainer, os.WNOHANG) == (0, 0):
                time.sleep(0.01)
            for number in range(count):
                amid = number % 2 == 1
                if amid:
                    left[0] = 1 + dice.randrange(2 * EVENTS)
                else:
                    until = psutil.Process(trainer).cpu_times().user + dice.random() * 3 * STEP_SECONDS
                    while psutil.Process(trainer).cpu_times().user < until:
                        time.sleep(0.002)
                    os.kill(trainer, signal.SIGSTOP)
                stopped(trainer)
                # The status names a step once its checkpoint is saved.
                said = read_status(path)["step"]
                copy(image, folder / f"image-{number}")
                writing = any(p.name.startswith(".") for p in (path / "checkpoints").iterdir())
                found.append({"said": said, "amid": amid, "writing": writing})
                os.kill(trainer, signal.SIGCONT)
        finally:
            os.kill(trainer, signal.SIGKILL)
            os.waitpid(trainer, 0)
    return found


def whole(folder: Path) -> list[int]:
    def loads(step: int) -> bool:
        try:
            return bool(load_checkpoint(folder, step, ["policy", "policy-adam"]))
        except ActFocusError:
            return False

    return [step for step in checkpoints(folder) if loads(step)]


def go_on(path: Path, told: Path) -> int:
    """Resume the run for one step more than it has logged, in a fork that writes the first step it does to a file; its process id."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:

        def watch(phase: str, done: int, total: int) -> None:
            if phase == "train" and not told.exists():
                told.write_text(str(done))

        resume(path, steps=rows(path)[-1]["step"] + 1, on_progress=watch)
        code = 0
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
    os._exit(code)


def results(path: Path) -> dict[int, dict]:
    """The rows by step, without what depends on the machine's speed or on which step is the last."""
    return {
        row["step"]: {
            k: v for k, v in row.items() if not k.startswith(("seconds/", "eval/")) and k != "tokens/per_second"
        }
        for row in rows(path)
    }


def look(image: Path, folder: Path) -> dict:
    """What is whole on an image, and how resuming the run on it ends."""
    told = folder / "told"
    told.unlink(missing_ok=True)
    with mounted(image, folder / "disk") as disk:
        path = disk / "run"
        found = {"whole": whole(path / "checkpoints"), "there": checkpoints(path / "checkpoints")}
        found["code"] = ended(go_on(path, told))
        found["first"] = int(told.read_text()) if told.exists() else None
        # There may be nothing to compare: where the run cannot even be opened.
        found |= {
            "results": results(path) if found["code"] == 0 else {},
            "signals": sorted(p.name for p in (path / "signals").glob("step-*")),
        }
    image.unlink()
    return found


def main(folder: str, count: int, seed: int) -> None:
    place = Path(folder)
    load_policy("tiny", "cpu", "float32")
    images = take(place, count, random.Random(seed))
    for number, image in enumerate(images):
        image |= look(place / f"image-{number}", place)
    steps = max(max(image["results"], default=1) for image in images)
    if ended(live(place / "whole", steps)):
        sys.exit("the undisturbed run failed")
    expected = results(place / "whole")
    for image in images:
        mine = image.pop("results")
        image["equal"] = bool(mine) and mine == {step: expected[step] for step in range(len(mine))}
        image["signals"] = image["signals"] == [f"step-{step:05d}.tiny.parquet" for step in range(1, len(mine))]
    print(json.dumps(images))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]))
