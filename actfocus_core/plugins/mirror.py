"""A run folder that another trainer fills, so that the studio follows it as it follows a local run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from actfocus_core.credit import Batch, get_scheme
from actfocus_core.runs import Run
from actfocus_core.train import metrics as names
from actfocus_core.train.control import (
    PAUSE_POLL,
    Request,
    clear,
    requested,
    the_only_trainer,
    write_status,
)
from actfocus_core.trajectory import Trajectory


class RunMirror:
    """What the one process that writes the folder does, in this order: ``begin``; every step ``store``, ``log`` and
    ``asked``; all of it inside ``watched``."""

    def __init__(self, path: str | Path, config: dict[str, Any], model: dict[str, Any]):
        """``config`` and ``model`` as ``Run.create`` takes them; a folder that is there already is gone on with."""
        self.path, self.config, self.model = Path(path), config, model
        self.run: Run | None = None
        """None until ``begin``"""
        self._held = ExitStack()
        self._row: dict[str, float] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around the whole training, in every process: the status says how it ended, and why where it failed."""
        with self._held:
            try:
                yield
            except BaseException as error:
                said = str(error).strip().splitlines()
                stopped = isinstance(error, KeyboardInterrupt)
                self.tell(
                    "stopped" if stopped else "failed",
                    message="" if stopped else said[0] if said else type(error).__name__,
                )
                raise
            self.tell("finished" if self.run and self.step >= self.steps else "stopped")

    def begin(self, step: int, steps: int) -> None:
        """Make the folder or go on with it; ``step`` of ``steps`` are done. Raises ActFocusError where it is no run folder,
        or another process trains there."""
        run = (
            Run.open(self.path)
            if self.path.exists()
            else Run.create(self.path, {**self.config, "steps": steps}, self.model)
        )
        self._held.enter_context(the_only_trainer(run.path))
        clear(run.path)
        rows, _ = run.metrics()
        self._logged = {row["step"] for row in rows}
        self._since = time.perf_counter() - max((row.get("seconds/elapsed", 0.0) for row in rows), default=0.0)
        self.run, self.step, self.steps = run, step, steps
        self.tell("running")

    def store(self, step: int, trajectories: list[Trajectory], params: dict[str, Any], reference: str | None) -> None:
        """Keep the rollouts of a step and what they and their weights say, which is a part of its row."""
        assert self.run is not None  # begin comes first
        if step not in self.run.steps():
            self.run.add_trajectories(step, trajectories)
            if reference is not None:
                self.run.annotate(step, reference, trajectories)
        batch = Batch.of(trajectories)
        credit = get_scheme("actfocus").compute(batch, **params)
        self._row = (
            names.of_rollouts(trajectories, trajectories)
            | names.of_credit(batch, credit)
            | names.of_reference(trajectories)
        )
        self.tell("running", phase="update")

    def log(self, step: int, theirs: dict[str, float], seconds: float | None = None) -> None:
        """The row of a step, unless it has one: ``theirs`` are the trainer's numbers under our names, behind those of
        ``store``; ``seconds`` is what the step took."""
        assert self.run is not None  # begin comes first
        row = {**theirs, **self._row, "seconds/elapsed": self.elapsed}
        if seconds and "tokens/sampled" in row:
            row["tokens/per_second"] = row["tokens/sampled"] / seconds
        if step not in self._logged:
            self.run.log({"step": step, **{name: float(value) for name, value in row.items() if np.isfinite(value)}})
            self._logged.add(step)
        self._row, self.step = {}, step
        self.tell("running")

    def asked(self) -> Request:
        """What the studio asks of the training after a step; ``pause``: wait for a while, and ask again."""
        asked = requested(self.path)
        if asked == "pause":
            self.tell("paused")
            time.sleep(PAUSE_POLL)
            self._since += PAUSE_POLL
        return asked

    def tell(self, state: str, phase: str = "", message: str = "") -> None:
        """Replace the status; nothing before ``begin``."""
        if self.run:
            write_status(
                self.path,
                state=state,
                step=self.step,
                steps=self.steps,
                phase=phase,
                message=message,
                elapsed=self.elapsed,
                time_budget=None,
            )

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, pauses left out, over all processes that wrote the folder."""
        return time.perf_counter() - self._since
