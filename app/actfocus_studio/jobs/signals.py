"""Signals of a run, computed in a separate process: reference scores and oracle values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.oracle import stored
from actfocus_core.runs import Run, slug
from actfocus_studio.data import models
from actfocus_studio.data.schema import JobStatus, ScoredSample, SignalsJob
from actfocus_studio.jobs.worker import READ_ONLY, Status, Worker

SAMPLE = 8
"""Groups of a sample, by which the time for the rest is measured."""
VALUES = {"optimal": ["--no-policy"], "policy": [], "answers": ["--no-policy", "--answers"]}
"""Oracle values that a page may request -> options of ``actfocus oracle``."""
LEAST_RESAMPLES = 10
"""Bootstrap resamples of the command. Its intervals are not used: the page computes its own."""


@dataclass(frozen=True)
class _About:
    """What the last job computes."""

    id: str = ""
    reference: str = ""


class Signals(Worker):
    """At most one running computation of signals: reference scores or oracle values.

    Every page shows and cancels the same one. Scores are stored group by group, so what a cancelled or killed job has
    computed is kept, and the next one goes on from there.
    """

    def __init__(self, runs_dir: Path = Path("runs"), read_only: bool = False):
        super().__init__(
            "signals are already being computed, possibly started from another page; wait for that or cancel it",
            kept="what was computed is kept",
            gives_way=True,
        )
        self.runs_dir, self.read_only = runs_dir, read_only
        self._about = _About()

    def references(self) -> list[models.Model]:
        """The reference models that a page offers: those that can be loaded here without a network."""
        return models.installed(self.runs_dir)

    def score(
        self, run: Run, name: str, reference: str, groups: int | None = None, first: str = "", again: bool = False
    ) -> Status:
        """Score the groups of a run that a reference model has not scored yet.

        ``reference``: one of ``references``, or a folder with a model. ``groups``: at most this many; None: all. ``first``: a
        trajectory whose group is scored first. ``again``: replace what is stored. Raises ActFocusError for another
        reference, where the run cannot be written, while another computation runs, and in a read-only studio.
        """
        model = models.reference(reference, self.runs_dir)
        options = [f"--groups={groups}"] if groups else []
        options += [f"--first={first}"] if first else []
        options += [] if again else ["--resume"]
        status = self._begin(["score", f"--reference={model}", "--json", *options], run, name)
        self._about = _About(status.id, slug(model))
        return status

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

    def look(self) -> SignalsJob:
        """The job as pages show it: its progress, and once it is done, how long the rest would take."""
        status, result = self.status(), self.result()
        sample = None
        if status.state == "done" and result and "groups_left" in result:
            sample = ScoredSample(**{field: result[field] for field in ScoredSample.model_fields})
        reference = self._about.reference if self._about.id == status.id else ""
        return SignalsJob(job=JobStatus(**vars(status)), reference=reference, sample=sample)

    def _begin(self, arguments: list[str], run: Run, name: str) -> Status:
        if self.read_only:
            raise ActFocusError(READ_ONLY)
        run.check_writable()
        # An absolute path cannot be mistaken for an option.
        return self.launch([*arguments, str(run.path.resolve())], None, name)
