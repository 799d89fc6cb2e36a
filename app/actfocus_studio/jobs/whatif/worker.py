"""The process that answers what-ifs: torch and a policy are loaded once, then a request a line.

In, a JSON object a line: ``run`` (its folder), ``kind``, ``asked`` (arguments), ``spare`` (a folder for
answers whose run cannot be written). Out, a JSON object a line: ``ready``; ``phase, done, total``;
``first``, the id of an answer of which a part lies in ``spare``; ``id, kept`` or ``error``. It ends with its
input, or when nobody has asked for a while.
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

from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run, slug

IDLE_SECONDS = 900
FIRST = "first"
"""The folder of answers of which only a part is known."""


def main() -> None:
    """Answer until the input ends."""
    # What a library prints must not stand between the answers.
    out, lock = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1), threading.Lock()
    os.dup2(2, 1)

    def tell(**said) -> None:
        with lock:
            out.write(json.dumps(said) + "\n")

    _warm()
    tell(ready=True)
    while select.select([sys.stdin.buffer.raw], [], [], IDLE_SECONDS)[0]:
        line = _line()
        if not line:
            return
        _answer(json.loads(line), tell)


def _answer(request: dict, tell) -> None:
    spare = Path(request["spare"])
    try:
        what = KINDS[request["kind"]](
            Run.open(request["run"]),
            request["asked"],
            lambda phase, done, total: tell(phase=phase, done=done, total=total),
            lambda what: _first(Run.open(request["run"]), what, spare, tell),
        )
        tell(id=what.id, kept=_store(Run.open(request["run"]), what, spare))
    except ActFocusError as error:
        tell(error=str(error))


def _line() -> bytes:
    """One line, read byte by byte: nothing is taken out of the pipe that ``select`` should see."""
    raw, line = sys.stdin.buffer.raw, b""
    while (byte := raw.read(1)) and byte != b"\n":
        line += byte
    return line


def _warm() -> None:
    """Everything an answer needs that takes seconds to import or load."""
    from actfocus_core.counterfactual import (
        branch,  # noqa: F401
        edit,  # noqa: F401
        replay,  # noqa: F401
    )
    from actfocus_core.policy import load_policy

    load_policy("tiny")


def _store(run: Run, what, spare: Path) -> bool:
    """Whether the answer could be kept in its run; else it lies in ``spare``."""
    from actfocus_core.counterfactual.store import store

    try:
        store(run, what)
        return True
    except ActFocusError:
        store(run, what, _made(spare_of(run, spare)))
        return False


def _first(run: Run, what, spare: Path, tell) -> None:
    """Say that a part of the answer is there; where it cannot be put down, the whole is waited for."""
    from actfocus_core.counterfactual.store import store

    with suppress(ActFocusError):
        store(run, what, _made(spare_of(run, spare, FIRST)))
        tell(first=what.id)


def spare_of(run: Run, spare: Path, *under: str) -> Path:
    """Where answers about a run lie that are not in its folder."""
    return spare.joinpath(*under, slug(str(run.path)))


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ActFocusError(f"{folder}: cannot be written ({error.strerror})") from None
    return folder


def _replay(run: Run, asked: dict, tell, first):
    from actfocus_core.counterfactual.replay import replay

    return replay(run, **asked, on_progress=tell, on_first=first)


def _branch(run: Run, asked: dict, tell, first):
    from actfocus_core.counterfactual.branch import branch

    who = _policy(str(run.path), run.trajectory(asked["id"]).step)
    return branch(run, policy=who, **asked, on_progress=lambda done, total: tell("rollout", done, total))


def _edit(run: Run, asked: dict, tell, first):
    from actfocus_core.counterfactual.edit import edit

    tell("score", 0, 1)
    return edit(run, reference=_reference(asked.pop("model")), **asked)


@lru_cache(2)
def _policy(path: str, step: int):
    """The policy that sampled a step."""
    from actfocus_core.counterfactual.history import policy_before

    return policy_before(Run.open(path), step)


@lru_cache(1)
def _reference(name: str):
    from actfocus_core.policy import load_policy

    return load_policy(name)


KINDS = {"replay": _replay, "branch": _branch, "edit": _edit}

if __name__ == "__main__":
    main()
