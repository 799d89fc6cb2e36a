"""``RunMirror``: mirrors another trainer's progress to a run folder, which the studio follows like a local run."""

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
    training_lock,
    write_status,
)
from actfocus_core.trajectory import Trajectory


class RunMirror:
    """The writer of the run folder, in one process.

    Call ``begin`` once, then ``store``, ``log`` and ``pending_request`` at every step, all inside ``session``.
    """

    def __init__(self, path: str | Path, config: dict[str, Any], model: dict[str, Any]):
        """``config`` and ``model``: as for ``Run.create``. An existing run folder is continued."""
        self.path, self.config, self.model = Path(path), config, model
        self.run: Run | None = None
        """None until ``begin``"""
        self._resources = ExitStack()
        self._row: dict[str, float] = {}

    @contextmanager
    def session(self) -> Iterator[None]:
        """Context of the whole training, in every process; records in the status how it ended, and the error if it failed."""
        with self._resources:
            try:
                yield
            except BaseException as error:
                lines = str(error).strip().splitlines()
                stopped = isinstance(error, KeyboardInterrupt)
                self.set_status(
                    "stopped" if stopped else "failed",
                    message="" if stopped else lines[0] if lines else type(error).__name__,
                )
                raise
            self.set_status("finished" if self.run and self.step >= self.steps else "stopped")

    def begin(self, step: int, steps: int) -> None:
        """Create or continue the run folder, with ``step`` of ``steps`` done.

        Raises ActFocusError if the path is not a run folder, or if another process trains there.
        """
        run = (
            Run.open(self.path)
            if self.path.exists()
            else Run.create(self.path, {**self.config, "steps": steps}, self.model)
        )
        self._resources.enter_context(training_lock(run.path))
        clear(run.path)
        rows, _ = run.metrics()
        self._logged = {row["step"] for row in rows}
        self._since = time.perf_counter() - max((row.get("seconds/elapsed", 0.0) for row in rows), default=0.0)
        self.run, self.step, self.steps = run, step, steps
        self.set_status("running")

    def store(self, step: int, trajectories: list[Trajectory], params: dict[str, Any], reference: str | None) -> None:
        """Store the rollouts of a step, and compute the metrics of the rollouts and their weights for its row."""
        assert self.run is not None  # set by begin
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
        self.set_status("running", phase="update")

    def log(self, step: int, metrics: dict[str, float], seconds: float | None = None) -> None:
        """Write the metrics row of a step unless it exists.

        ``metrics``: the trainer's metrics under the names of metrics.jsonl; those of ``store`` take precedence.
        ``seconds``: duration of the step.
        """
        assert self.run is not None  # set by begin
        row = {**metrics, **self._row, "seconds/elapsed": self.elapsed}
        if seconds and "tokens/sampled" in row:
            row["tokens/per_second"] = row["tokens/sampled"] / seconds
        if step not in self._logged:
            self.run.log({"step": step, **{name: float(value) for name, value in row.items() if np.isfinite(value)}})
            self._logged.add(step)
        self._row, self.step = {}, step
        self.set_status("running")

    def pending_request(self) -> Request:
        """The studio's request to the training. For ``pause``, sleeps for PAUSE_POLL seconds; the caller then asks again."""
        request = requested(self.path)
        if request == "pause":
            self.set_status("paused")
            time.sleep(PAUSE_POLL)
            self._since += PAUSE_POLL
        return request

    def set_status(self, state: str, phase: str = "", message: str = "") -> None:
        """Replace the status; does nothing before ``begin``."""
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
        """Seconds of training so far without pauses, summed over all processes that wrote the folder."""
        return time.perf_counter() - self._since
