"""Child processes: every one is started here, by the rules that each of them needs.

* A child imports nothing from the working folder (``-P``): it may be a stranger's.
* A child leads a process group of its own: a Ctrl-C in the terminal reaches it only through its parent, and
  it is ended together with what it started.
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
    """The command that runs a module in another Python like this one."""
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def start(command: list[str], *, env: dict[str, str] | None = None, **given: Any) -> subprocess.Popen[Any]:
    """Start a command as the leader of its own process group.

    ``env``: by default ``environment()``. ``given``: for ``subprocess.Popen``.
    """
    return subprocess.Popen(command, env=environment() if env is None else env, start_new_session=True, **given)


def run(command: list[str], **given: Any) -> subprocess.CompletedProcess[str]:
    """Start a command and wait for it; what it writes to its output, as text, is in the result's ``stdout``."""
    with start(command, stdout=subprocess.PIPE, text=True, **given) as process:
        try:
            output, complaints = process.communicate()
        except BaseException:
            end(process, 0.0)
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, complaints)


def end(process: subprocess.Popen[Any], patience: float) -> None:
    """Ask a child and what it started to end (SIGTERM), and kill what is left of them after ``patience`` seconds."""
    if process.poll() is not None:
        return
    if patience:
        _signal(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def environment(threads: int | None = 1) -> dict[str, str]:
    """Environment variables of a child: this package is found where this process has it, and no module is looked for in
    the working folder, by its own children neither.

    ``threads``: of its arithmetic; one leaves the rest of the machine to whoever waits for a page. None: those of this process.
    """
    package = str(Path(actfocus_core.__file__).parent.parent)
    # An empty entry of PYTHONPATH is the working folder.
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    own = {"PYTHONPATH": os.pathsep.join([package, *given]), "PYTHONSAFEPATH": "1"}
    return {**os.environ, **own, **({} if threads is None else {"OMP_NUM_THREADS": str(threads)})}


def end_on_signals_as_on_interrupt() -> None:
    """Have SIGTERM, and SIGHUP where it is not ignored, end this process as SIGINT does; in the main thread only."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
