"""Logging of the metrics to TensorBoard, Weights & Biases or Trackio, through their own libraries."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from actfocus_core.extras import require

PROJECT = "actfocus"
Tracker = tuple[Callable[[int, dict[str, float]], None], Callable[[], None]]
"""(log the metrics of a step, close)"""


class Tracking:
    """The trackers that a config names. metrics.jsonl remains the record of the run."""

    def __init__(self, names: tuple[str, ...], run: Path, config: dict[str, Any]):
        self.opened = [_tensorboard(run) if name == "tensorboard" else _hosted(name, run, config) for name in names]

    def log(self, step: int, metrics: dict[str, float]) -> None:
        for log, _ in self.opened:
            log(step, metrics)

    def close(self) -> None:
        for _, close in self.opened:
            close()


def require_trackers(names: tuple[str, ...]) -> None:
    """Raise ActFocusError where the library of a tracker is not installed."""
    for name in names:
        require("torch.utils.tensorboard" if name == "tensorboard" else name, name)


def _tensorboard(run: Path) -> Tracker:
    writer = require("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(run / "tensorboard"))

    def log(step: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return log, writer.close


def _hosted(name: str, run: Path, config: dict[str, Any]) -> Tracker:
    """Weights & Biases, or Trackio, which has the same interface."""
    library = require(name, name)

    def call(function: Callable[..., object], *arguments: object, **named: object) -> None:
        # The libraries print to stdout, which is reserved for the result of the command.
        with redirect_stdout(sys.stderr):
            function(*arguments, **named)

    call(library.init, project=PROJECT, name=run.name, config=config)
    return lambda step, metrics: call(library.log, metrics, step=step), lambda: call(library.finish)
