"""Worker process for what-ifs. It loads torch and a policy once, then handles one request at a time.

Requests arrive on stdin as one JSON object per line: ``run`` (path of the run), ``kind``, ``arguments`` of the library function,
``spare`` (folder for results that cannot be stored in the run). Messages are written to stdout, also one JSON object per line:

* ``ready``: the policy is loaded;
* ``phase, done, total``: progress;
* ``first``: id of a partial result, stored in ``spare``;
* ``id, kept`` or ``error``: the request is complete.

The process exits at the end of its input, or after IDLE_SECONDS without a request.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run, slug

if TYPE_CHECKING:
    from collections.abc import Callable

    from actfocus_core.counterfactual.store import WhatIf
    from actfocus_core.policy import Policy

    Send = Callable[..., None]
    Progress = Callable[[str, int, int], None]
    First = Callable[[WhatIf], None]

IDLE_SECONDS = 900
FIRST = "first"
"""Subfolder of ``spare`` for partial results."""


def main() -> None:
    """Handle requests until the input ends."""
    # What libraries print goes to stderr, so that stdout has nothing but messages.
    out, lock = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1), threading.Lock()
    os.dup2(2, 1)

    def send(**message) -> None:
        with lock:
            out.write(json.dumps(message) + "\n")

    _warm()
    send(ready=True)
    while select.select([sys.stdin.buffer.raw], [], [], IDLE_SECONDS)[0]:
        line = _line()
        if not line:
            return
        _handle(json.loads(line), send)


def _handle(request: dict, send: Send) -> None:
    spare = Path(request["spare"])
    try:
        what = KINDS[request["kind"]](
            Run.open(request["run"]),
            request["arguments"],
            lambda phase, done, total: send(phase=phase, done=done, total=total),
            lambda what: _first(Run.open(request["run"]), what, spare, send),
        )
        send(id=what.id, kept=_store(Run.open(request["run"]), what, spare))
    except ActFocusError as error:
        send(error=str(error))


def _line() -> bytes:
    """The next line of stdin; empty at its end. Unbuffered, because ``select`` does not see what a buffer holds."""
    raw, line = sys.stdin.buffer.raw, b""
    while (byte := raw.read(1)) and byte != b"\n":
        line += byte
    return line


def _warm() -> None:
    """Import and load in advance what takes seconds."""
    from actfocus_core.counterfactual import (
        branch,  # noqa: F401
        edit,  # noqa: F401
        replay,  # noqa: F401
    )
    from actfocus_core.policy import load_policy

    load_policy("tiny")


def _store(run: Run, what: WhatIf, spare: Path) -> bool:
    """Store a result in its run, or in ``spare`` if the run cannot be written. Returns whether it is in the run."""
    from actfocus_core.counterfactual.store import store

    try:
        store(run, what)
        return True
    except ActFocusError:
        store(run, what, _create(spare_of(run, spare)))
        return False


def _first(run: Run, what: WhatIf, spare: Path, send: Send) -> None:
    """Store a partial result and report its id. Does nothing if it cannot be stored: the complete result follows."""
    from actfocus_core.counterfactual.store import store

    with suppress(ActFocusError):
        store(run, what, _create(spare_of(run, spare, FIRST)))
        send(first=what.id)


def spare_of(run: Run, spare: Path, *under: str) -> Path:
    """Folder for results of a run that are not stored in the run itself."""
    return spare.joinpath(*under, slug(str(run.path)))


def _create(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ActFocusError(f"{folder}: cannot be written ({error.strerror})") from None
    return folder


def _replay(run: Run, arguments: dict, progress: Progress, first: First) -> WhatIf:
    from actfocus_core.counterfactual.replay import replay

    return replay(run, **arguments, on_progress=progress, on_first=first)


def _branch(run: Run, arguments: dict, progress: Progress, first: First) -> WhatIf:
    from actfocus_core.counterfactual.branch import branch

    policy = _policy(str(run.path), run.trajectory(arguments["id"]).step)
    return branch(run, policy=policy, **arguments, on_progress=lambda done, total: progress("rollout", done, total))


def _edit(run: Run, arguments: dict, progress: Progress, first: First) -> WhatIf:
    from actfocus_core.counterfactual.edit import edit

    progress("score", 0, 1)
    return edit(run, reference=_reference(arguments.pop("model")), **arguments)


@lru_cache(2)
def _policy(path: str, step: int) -> Policy:
    """The policy that sampled the rollouts of a step."""
    from actfocus_core.counterfactual.history import policy_before

    return policy_before(Run.open(path), step)


@lru_cache(1)
def _reference(name: str) -> Policy:
    from actfocus_core.policy import load_policy

    return load_policy(name)


KINDS = {"replay": _replay, "branch": _branch, "edit": _edit}

if __name__ == "__main__":
    main()
