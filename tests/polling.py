"""Waiting for the work of other processes and threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def until(check: Callable[[], Value], seconds: float = 300.0) -> Value:
    """The first true value of ``check()``, which is called again and again. Fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not (value := check()):
        assert time.monotonic() < end, f"still {value!r} after {seconds:.0f} s"
        time.sleep(0.05)
    return value
