"""Start and end child processes; all of them are started here, under two rules.

* A child imports nothing from the working folder (``-P``), which may be untrusted.
* A child leads its own process group: Ctrl-C in the terminal reaches it only through its parent, and it is ended
  together with its descendants.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import actfocus_core


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs a module with this Python interpreter."""
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def start(command: list[str], *, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[Any]:
    """Start a command as the leader of its own process group.

    ``env``: by default ``environment()``. ``options``: for ``subprocess.Popen``.
    """
    return subprocess.Popen(command, env=environment() if env is None else env, start_new_session=True, **options)


def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to completion and capture its standard output as text; ``options`` as for ``start``."""
    with start(command, stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            stdout, stderr = process.communicate()
        except BaseException:
            end(process, 0.0)
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def end(process: subprocess.Popen[Any], grace: float) -> None:
    """Terminate the process group of a child (SIGTERM), and kill what remains of it after ``grace`` seconds."""
    if process.poll() is not None:
        return
    if grace:
        _signal(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def environment(threads: int | None = 1) -> dict[str, str]:
    """Environment variables of a child: it imports this package from the same place as this process, and neither it nor
    its children import modules from the working folder.

    ``threads``: number of OpenMP threads; one by default, which leaves the other cores to the studio. None keeps the
    setting of this process.
    """
    package = str(Path(actfocus_core.__file__).parent.parent)
    # An empty entry of PYTHONPATH means the working folder.
    entries = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    paths = {"PYTHONPATH": os.pathsep.join([package, *entries]), "PYTHONSAFEPATH": "1"}
    return {**os.environ, **paths, **({} if threads is None else {"OMP_NUM_THREADS": str(threads)})}


def interrupt_on_termination_signals() -> None:
    """Handle SIGTERM, and SIGHUP unless it is ignored, like SIGINT. Call it in the main thread."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
