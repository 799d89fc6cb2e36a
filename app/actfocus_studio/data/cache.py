"""A least-recently-used cache whose values are computed once, and a stamp that changes with a run's files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from actfocus_core.runs import stamp as file_stamp

Made = TypeVar("Made")


class LruCache(Generic[Made]):
    """Keeps the most recently used values, up to a total weight of ``size``. Thread-safe; each value is computed once.

    ``weigh``: the weight of a value; 1 by default.
    """

    def __init__(self, size: int = 8, weigh: Callable[[Made], int] = lambda made: 1):
        self._size, self._weigh, self._weight = size, weigh, 0
        self._made: OrderedDict[tuple, Made] = OrderedDict()
        self._lock, self._making = threading.Lock(), threading.Lock()

    def get(self, key: tuple, make: Callable[[], Made]) -> Made:
        """The value of a key, computed by ``make`` if it is missing. Exceptions of ``make`` are not cached.

        A cached value is returned without waiting for another one that is being computed.
        """
        with self._lock:
            if key in self._made:
                return self._found(key)
        with self._making:
            with self._lock:
                if key in self._made:
                    return self._found(key)
            made = make()
            with self._lock:
                self._made[key] = made
                self._weight += self._weigh(made)
                while self._weight > self._size:
                    self._weight -= self._weigh(self._made.popitem(last=False)[1])
            return made

    def _found(self, key: tuple) -> Made:
        self._made.move_to_end(key)
        return self._made[key]


def stamp(run, steps: list[int]) -> tuple:
    """A key that changes when one of these steps is added or scored again."""
    return (
        run.path,
        *((file.name, file_stamp(file)) for step in steps for file in sorted(run.path.glob(f"*/step-{step:05d}.*"))),
    )
