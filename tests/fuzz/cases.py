"""What every fuzzed case must keep, and how many are made.

A case is made of bytes (``damage.Choices``): hypothesis chooses them here, coverage does in ``guided.py``. 10,000 cases in
all by default, the same ones every time. ``FUZZ_CASES=200000`` makes as many, and other ones every time.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import contextmanager

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from actfocus_core.errors import ActFocusError
from tests.fuzz.damage import Choices

SHARES = {
    "actions and spans": 3000,
    "a character at a time": 1000,
    "patterns": 600,
    "addresses": 1800,
    "requests": 600,
    "lesson texts": 250,
    "lesson values": 250,
    "run files": 200,
    "metrics": 200,
    "tables": 80,
    "columns": 120,
    "what-ifs": 150,
    "checkpoints": 150,
    "races": 150,
    "lines": 450,
    "records": 450,
}
"""Cases of each target by default; besides them ``tests/interop/test_mutations.py`` imports 550 damaged files."""
FULL = 10_000
"""Cases in all, those of ``test_mutations.py`` among them."""
ASKED = int(os.environ.get("FUZZ_CASES", FULL))
SECOND = 1.0
"""Of computing, on however busy a machine, that a case may take."""
PATIENCE = 30.0
"""Seconds after which a case that waits, or never ends, is broken off."""
BYTES, TOGETHER = 128, 10
"""A case is made of so many, and so many cases of what hypothesis draws at once: to draw costs more than most cases."""
TARGETS: dict[str, Callable[[bytes], None]] = {}
"""Name -> what makes a case of bytes and checks it."""


class Hang(BaseException):
    """A case that did not end."""


def fuzz(name: str, *explicit: dict, **makers: Callable[[Choices], object]):
    """Makes a test of a function that checks one case.

    ``makers``: what makes each of its arguments. ``explicit``: arguments that failed once, or are the worst we know.
    """
    cases = SHARES[name] * ASKED // FULL

    def decorate(check: Callable) -> Callable:
        made = 0

        def one(data: bytes) -> None:
            nonlocal made
            for start in range(0, len(data), BYTES):
                made += 1
                choices = Choices(data[start : start + BYTES])
                in_time(check, {argument: make(choices) for argument, make in makers.items()})

        driven = settings(
            max_examples=-(-cases // TOGETHER),
            deadline=None,
            database=None,
            derandomize=ASKED == FULL,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )(given(data=st.binary(min_size=BYTES * TOGETHER, max_size=BYTES * TOGETHER))(one))

        def test() -> None:
            for case in explicit:
                in_time(check, case)
            driven()
            assert made >= cases

        TARGETS[name] = one
        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        return test

    return decorate


def in_time(check: Callable, case: dict) -> None:
    """Check a case; a failure says what the case was."""
    try:
        # A second time: what the first one imported or compiled is no part of the case.
        took = _seconds(check, case)
        took = _seconds(check, case) if took > SECOND else took
        assert took <= SECOND, f"{took:.1f} s of computing"
    except BaseException as error:
        error.add_note(f"the case: {str(case)[:3000]}")
        raise


def _seconds(check: Callable, case: dict) -> float:
    """Seconds of computing, of all threads, that a case took."""
    began = time.process_time()
    with broken_off_after(PATIENCE):
        check(**case)
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
