"""What every fuzzed case must keep, and how many are made.

10,000 cases in all by default, the same ones every time. ``FUZZ_CASES=200000`` makes as many, and other
ones every time (``--hypothesis-seed`` repeats them). ``guided.py`` lets coverage choose them.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable
from contextlib import contextmanager

from hypothesis import HealthCheck, Phase, example, given, settings

from actfocus_core.errors import ActFocusError

SHARES = {
    "actions and spans": 2400, "patterns": 300, "a character at a time": 300, "queries": 1500, "requests": 500,
    "lesson texts": 500, "lesson values": 1000, "run files": 900, "metrics": 400, "tables": 500, "rewritten columns": 300,
    "what-ifs": 200, "checkpoints": 100, "races": 200, "lines": 600, "rows": 300,
}
"""Cases of each target by default. Besides them ``tests/interop/test_mutations.py`` imports 550 damaged files."""
FULL, IMPORTED = 10_000, 550
ASKED = int(os.environ.get("FUZZ_CASES", FULL))
SECOND = 1.0
"""Of computing, on however busy a machine, that a case may take."""
PATIENCE = 30.0
"""Seconds after which a case that waits, or never ends, is broken off."""
TARGETS: dict[str, Callable] = {}
"""Name -> the test that hypothesis drives: ``guided.py`` drives the same ones."""


class Hang(BaseException):
    """A case that did not end."""


def fuzz(name: str, *explicit: dict, **strategies):
    """Makes a test of a function that checks one case. ``explicit``: cases that failed once."""
    cases = SHARES[name] * ASKED // FULL

    def decorate(check: Callable) -> Callable:
        made = 0

        @functools.wraps(check)
        def one(**drawn) -> None:
            nonlocal made
            made += 1
            # A second time: what the first one imported or compiled is no part of the case.
            took = _seconds(check, drawn)
            took = _seconds(check, drawn) if took > SECOND else took
            assert took <= SECOND, f"{took:.1f} s of computing"

        driven = settings(
            max_examples=cases, deadline=None, database=None, derandomize=ASKED == FULL, suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.generate, Phase.shrink))(given(**strategies)(one))
        for case in explicit:
            driven = example(**case)(driven)
        TARGETS[name] = driven

        def test() -> None:
            driven()
            assert made >= cases

        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        return test
    return decorate


def _seconds(check: Callable, drawn: dict) -> float:
    """Seconds of computing, of all threads, that a case took."""
    began = time.process_time()
    with broken_off_after(PATIENCE):
        check(**drawn)
    return time.process_time() - began


@contextmanager
def broken_off_after(seconds: float):
    """Raise Hang in a block that lasts longer."""
    def fire(number, frame):
        raise Hang(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, fire)
    rest, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, rest)
        signal.signal(signal.SIGALRM, before)


def answered(work: Callable):
    """What ``work`` gives, None where it refuses with one clear line; whatever else it raises is a bug."""
    try:
        return work()
    except ActFocusError as error:
        clear(str(error))
        return None


def clear(message: str) -> None:
    """One line that a terminal shows as it stands."""
    assert message.isprintable() and 20 < len(message) < 1000, repr(message)
