"""What a page is told of a run: whether it waits, trains or has ended, how far it is, and what went wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

from actfocus_studio.jobs.experiments.log import LOG_TAIL, tail
from actfocus_studio.jobs.worker import how_it_ended


def state_of(
    status: dict, steps: int, process: subprocess.Popen | None, before: object, going: bool, log: Path
) -> dict:
    """queued, waiting (nobody keeps the experiment going), starting, or what the run says of itself.

    ``status``: the run's, read before its ``process`` is asked whether it lives; ``before``: the process that
    wrote the status before ours was started; ``going``: whether this studio keeps the experiment going.
    """
    alive = process is not None and process.poll() is None
    state = status.get("state") or ("starting" if alive else "queued" if going else "waiting")
    code = None if process is None else process.poll()
    mute = code is not None and status.get("pid") == before and state not in ("finished", "running", "paused")
    if mute:
        # Started again it would end the same way.
        state = "failed"
    if state in ("stopped", "killed") and alive:
        state = "starting"
    step, elapsed = status.get("step", 0), status.get("elapsed") or 0.0
    left = (steps - step) * elapsed / step if step else None
    found = {
        "state": state,
        "step": step,
        "phase": status.get("phase", ""),
        "elapsed": elapsed,
        "left": left,
        "message": status.get("message") or "",
    }
    if state in ("failed", "killed"):
        # It may have had no chance to say anything: killed, or on a full disk.
        found["message"] = (
            f"{how_it_ended(code)} before it said anything; its log may say why"
            if mute and not code
            else found["message"] or (how_it_ended(code) if code else "")
        )
        found["log"] = tail(log, LOG_TAIL)
    return found
