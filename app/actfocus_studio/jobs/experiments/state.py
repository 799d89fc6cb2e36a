"""The state of a run: queued, training or ended, its progress, and what went wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

from actfocus_studio.jobs.experiments.log import LOG_TAIL, tail
from actfocus_studio.jobs.worker import how_it_ended


def state_of(
    status: dict, steps: int, process: subprocess.Popen | None, before: object, going: bool, log: Path
) -> dict:
    """``queued``, ``waiting`` (no studio runs the experiment), ``starting``, or the state in the run's own status.

    ``status`` must be read before this call checks whether ``process`` is alive. ``before``: the pid in the status
    before our process was started; ``going``: whether this studio runs the experiment. ``left``: seconds, or None.
    """
    alive = process is not None and process.poll() is None
    state = status.get("state") or ("starting" if alive else "queued" if going else "waiting")
    code = None if process is None else process.poll()
    silent = code is not None and status.get("pid") == before and state not in ("finished", "running", "paused")
    if silent:
        # Restarted, it would end the same way.
        state = "failed"
    if state in ("stopped", "killed") and alive:
        state = "starting"
    step, elapsed = status.get("step") or 0, status.get("elapsed") or 0.0
    left = (steps - step) * elapsed / step if step else None
    report = {
        "state": state,
        "step": step,
        "phase": status.get("phase") or "",
        "elapsed": elapsed,
        "left": left,
        "message": status.get("message") or "",
    }
    if state in ("failed", "killed"):
        # The process may not have been able to write a message: killed, or on a full disk.
        report["message"] = (
            f"{how_it_ended(code)} without reporting a status; see its log"
            if silent and not code
            else report["message"] or (how_it_ended(code) if code else "")
        )
        report["log"] = tail(log, LOG_TAIL)
    return report
