"""A training run that is killed again and again, each time resumed: python -m tests.faults.kills FOLDER KILLS STEPS SEED

Every life of the run is a fork of this process, which has torch and the policy loaded, so a kill costs a fraction of a
second. Half of the kills fall at a random time, half right before a random change of the run folder. Prints one object of JSON.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch  # noqa: F401 - loaded before the forks

from actfocus_core.errors import ActFocusError
from actfocus_core.policy import load_policy
from actfocus_core.runs import Run
from actfocus_core.train import TrainConfig, read_status, resume, train
from actfocus_core.train.checkpoint import checkpoints

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
"""Flags of an open that may change a file: one of them is set."""
CHANGES = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod")
CONFIG = {
    "prompts": 1,
    "rollouts": 2,
    "minibatch": 2,
    "eval_prompts": 1,
    "eval_rollouts": 1,
    "eval_every": 5,
    "lr": 3e-4,
    "mass_every": 0,
    "scheme": "actfocus",
    "device": "cpu",
    "seed": 5,
    "checkpoints_kept": 2,
    "rollout_batch": 2,
    "micro_tokens": 500,
    "env_options": {"max_turns": 1, "response_tokens": 16},
}


def before_change(path: Path, changes: int) -> Callable[[str, tuple], None]:
    """An audit hook that kills its process right before one of the changes of a folder, counted from 0."""
    left = [changes]

    def watch(event: str, arguments: tuple) -> None:
        if event in CHANGES and str(path) in str(arguments[0]) and not (event == "open" and not arguments[2] & WRITING):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return watch


def live(path: Path, steps: int, watch: Callable[[str, tuple], None] | None = None) -> int:
    """Begin the run, or go on with it, in a fork with an audit hook; its process id."""
    process = os.fork()
    if process:
        return process
    if watch is not None:
        sys.addaudithook(watch)
    try:
        if path.exists():
            resume(path)
        else:
            train(TrainConfig.of(**CONFIG, steps=steps), path)
    except ActFocusError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(2)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def ended(process: int, seconds: float | None = None) -> int:
    """Wait for the process, kill it once it has computed for so long; how it ended, as ``subprocess`` says it."""
    while True:
        found, status = os.waitpid(process, 0 if seconds is None else os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        # Not by the clock: a busy machine would choose other moments.
        if psutil.Process(process).cpu_times().user > seconds:
            os.kill(process, signal.SIGKILL)
            seconds = None
        time.sleep(0.002)


def rows(path: Path) -> list[dict]:
    return Run.open(path).metrics()[0] if path.exists() else []


def state(path: Path) -> dict:
    """What a reader sees of the run: the steps it says it has done, its checkpoints, its rows; all of it must be readable."""
    if not path.exists():
        return {"said": 0, "kept": 0, "rows": -1}
    run = Run.open(path)
    for step in run.steps():
        run.trajectories(step)
    kept = checkpoints(path / "checkpoints")
    return {
        "said": read_status(path).get("step", 0),
        "kept": kept[-1] if kept else 0,
        "rows": rows(path)[-1]["step"] if rows(path) else -1,
    }


def main(folder: str, kills: int, steps: int, seed: int) -> None:
    dice, whole, path = random.Random(seed), Path(folder) / "whole", Path(folder) / "killed"
    load_policy("tiny", "cpu", "float32")
    if ended(live(whole, steps)):
        sys.exit("the undisturbed run failed")
    step_seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime / steps
    # A life lasts up to two steps or so; each changes the folder some fifty times.
    found, finished = [], False
    while not finished and len(found) < kills:
        timed = len(found) % 2 == 0
        code = ended(
            live(path, steps, None if timed else before_change(path, dice.randrange(100))),
            dice.random() * 2 * step_seconds if timed else 60.0,
        )
        finished = code == 0
        if not finished:
            if code != -signal.SIGKILL:
                sys.exit(f"ended with {code} in place of a kill")
            print(f"kill {len(found) + 1}", file=sys.stderr, flush=True)
            found.append(
                {"how": "time" if timed else "change", **state(path), "killed": read_status(path).get("state", "")}
            )
    if not finished and ended(live(path, steps)):
        sys.exit("the last life failed")
    results = [
        [{k: v for k, v in row.items() if not k.startswith("seconds/") and k != "tokens/per_second"} for row in rows(p)]
        for p in (whole, path)
    ]
    weights = [load_policy(str(p / "policy"), "cpu").fingerprint for p in (whole, path)]
    print(
        json.dumps(
            {
                "kills": found,
                "step_seconds": step_seconds,
                "equal": results[0] == results[1],
                "weights": weights[0] == weights[1],
                "steps": [row["step"] for row in results[1]],
                "left": [str(p.relative_to(path)) for p in path.rglob(".*") if p.name != ".lock"],
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
