"""Signals of a run, computed in a separate process: reference scores and oracle values."""

from __future__ import annotations

from actfocus_core.errors import ActFocusError
from actfocus_core.oracle import stored
from actfocus_core.runs import Run
from actfocus_studio.jobs.worker import READ_ONLY, Status, Worker

REFERENCES = ("tiny",)
"""Reference models that a page may request: those shipped with the package."""
VALUES = {"optimal": ["--no-policy"], "policy": [], "answers": ["--no-policy", "--answers"]}
"""Oracle values that a page may request -> options of ``actfocus oracle``."""
LEAST_RESAMPLES = 10
"""Bootstrap resamples of the command. Its intervals are not used: the page computes its own."""


class Signals(Worker):
    """At most one running computation of signals: reference scores or oracle values."""

    def __init__(self, read_only: bool = False):
        super().__init__(
            "signals are already being computed, possibly started from another page; wait for that or cancel it"
        )
        self.read_only = read_only

    def score(self, run: Run, name: str, reference: object) -> Status:
        """Score a run with a reference model.

        Raises ActFocusError for a reference not in REFERENCES, where the run cannot be written, while another
        computation runs, and in a read-only studio.
        """
        if reference not in REFERENCES:
            raise ActFocusError(f"unknown reference; there are {', '.join(REFERENCES)}")
        return self._begin(["score", "--reference", reference], run, name)

    def judge(self, run: Run, name: str, step: int, values: object) -> Status:
        """Compute oracle values of a step.

        Raises ActFocusError for a key not in VALUES, where the run does not record its environment or cannot be
        written, while another computation runs, and in a read-only studio.
        """
        if not isinstance(values, str) or values not in VALUES:
            raise ActFocusError(f"unknown values; there are {', '.join(VALUES)}")
        stored.env_options(run)
        return self._begin(
            ["oracle", "--step", str(step), "--bootstrap", str(LEAST_RESAMPLES), *VALUES[values]], run, name
        )

    def _begin(self, arguments: list[str], run: Run, name: str) -> Status:
        if self.read_only:
            raise ActFocusError(READ_ONLY)
        run.check_writable()
        # An absolute path cannot be mistaken for an option.
        return self.launch([*arguments, str(run.path.resolve())], None, name)
