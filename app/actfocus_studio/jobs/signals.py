"""Signals of a run, computed in a process: the scores of a reference model, and the values of the oracle."""

from __future__ import annotations

from actfocus_core.errors import ActFocusError
from actfocus_core.oracle import stored
from actfocus_core.runs import Run
from actfocus_studio.jobs.worker import READ_ONLY, Status, Worker

REFERENCES = ("tiny",)
"""Models that a page may score a run with: those that come with the package."""
VALUES = {"optimal": ["--no-policy"], "policy": [], "answers": ["--no-policy", "--answers"]}
"""What a page may have the oracle compute -> the options of ``actfocus oracle``."""
LEAST_RESAMPLES = 10
"""The page has its own intervals: those that the command prints are not looked at."""


class Signals(Worker):
    """The one piece of work on a run's signals that may run: scoring by a reference model, or the oracle's values."""

    def __init__(self, read_only: bool = False):
        super().__init__(
            "signals of a run are already being computed, perhaps from another page; wait for that or cancel it"
        )
        self.read_only = read_only

    def score(self, run: Run, name: str, reference: object) -> Status:
        """Score the run of this name. Raises ActFocusError for another reference than REFERENCES has, where the run
        cannot be written, while another work is done, and in a studio that is read only."""
        if reference not in REFERENCES:
            raise ActFocusError(f"unknown reference; there are {', '.join(REFERENCES)}")
        return self._begin(["score", "--reference", reference], run, name)

    def judge(self, run: Run, name: str, step: int, values: object) -> Status:
        """Compute the oracle's values of a step. Raises ActFocusError for others than VALUES has, where the run does not
        say what was played or cannot be written, or while another work is done."""
        if not isinstance(values, str) or values not in VALUES:
            raise ActFocusError(f"unknown values; there are {', '.join(VALUES)}")
        stored.env_options(run)
        return self._begin(
            ["oracle", "--step", str(step), "--bootstrap", str(LEAST_RESAMPLES), *VALUES[values]], run, name
        )

    def _begin(self, arguments: list[str], run: Run, name: str) -> Status:
        if self.read_only:
            raise ActFocusError(READ_ONLY)
        run.demand_writable()
        # An absolute path: whatever the run is called, it is no option.
        return self.launch([*arguments, str(run.path.resolve())], None, name)
