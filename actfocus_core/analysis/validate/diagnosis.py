"""``diagnose``: checks that stream over a run and hold no trajectory in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from actfocus_core.analysis.validate.findings import Findings, Hit, Report
from actfocus_core.analysis.validate.groups import Groups
from actfocus_core.analysis.validate.replies import Replies
from actfocus_core.analysis.validate.rules import MAX_DRIFT, MEAN_DRIFT
from actfocus_core.analysis.validate.runs import Streams, of_run
from actfocus_core.analysis.validate.scores import of_scores, of_stream
from actfocus_core.analysis.validate.texts import of_text
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.spans import span_rule
from actfocus_core.trajectory import Trajectory

if TYPE_CHECKING:
    from actfocus_core.policy import Policy


def diagnose(
    run: Run,
    *,
    tokenizer: Any = None,
    reference: Policy | None = None,
    spans: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check every trajectory and group of a run.

    ``tokenizer``: the Hugging Face tokenizer of the policy, to check ids against texts. ``reference``: the policy that sampled,
    to compare the stored log-probs with those of a forward pass. ``spans``: the span rule, by default that of the import.
    Raises ActFocusError if the run cannot be opened; a trajectory that cannot be read is a finding.
    """
    validator = _Validator(run, spans, tokenizer)
    total = len(run.index())
    if reference is not None:
        from actfocus_core.signals import score
    for chunk in _chunks(run.stream(on_error=validator.unreadable)):
        for trajectory in chunk:
            validator.examine(trajectory)
        if reference is not None:
            readable = [t for t in chunk if len(t) and t.response_mask.any() and t.token_ids.min() >= 0]
            score(readable, reference)
            for trajectory in readable:
                validator.compare(trajectory)
        if on_progress:
            on_progress(validator.trajectories, total)
    return validator.report()


class _Validator:
    """Runs the checks over a stream of trajectories."""

    def __init__(self, run: Run, spans: str | None, tokenizer: Any):
        metadata = run.metadata
        self.run, self.tokenizer, self.mask = run, tokenizer, metadata.provenance.mask
        self.is_text = bool(metadata.approximate)
        self.trajectories = self.tokens = 0
        self.findings, self.groups, self.streams = Findings(), Groups(), Streams()
        self.replies = Replies(span_rule(spans or metadata.spans), tokenizer, exact=not self.is_text)

    def unreadable(self, id: str, error: ActFocusError) -> None:
        self.trajectories += 1
        self.findings.add(Hit("unreadable", id, str(error)))

    def examine(self, t: Trajectory) -> None:
        self.trajectories += 1
        self.tokens += len(t)
        for hit in self._of_trajectory(t):
            self.findings.add(hit)

    def _of_trajectory(self, t: Trajectory) -> Iterator[Hit]:
        yield from (Hit(rule, t.id) for rule in of_stream(t))
        yield from self.groups.examine(t)
        if not len(t):
            return
        yield from (Hit(rule, t.id) for rule in of_scores(t, self.is_text))
        yield from self.replies.examine(t)
        yield from of_text(t, self.tokenizer)
        self.streams.examine(t)

    def compare(self, t: Trajectory) -> None:
        """Compare the stored log-probs with those of the reference pass."""
        both = np.isfinite(t.logprobs) & np.isfinite(t.signals["ref_logprob"])
        difference = np.abs(t.logprobs - t.signals["ref_logprob"])[both]
        # If most tokens are nearly certain, the mean does not reveal a shift.
        if both.any() and (difference.mean() > MEAN_DRIFT or difference.max() > MAX_DRIFT):
            self.findings.add(Hit("logprob-reference", t.id))

    def report(self) -> Report:
        for hits in (
            self.replies.conclude(),
            self.groups.conclude(),
            self.streams.conclude(self.run),
            of_run(self.run),
        ):
            for hit in hits:
                self.findings.add(hit)
        if self.tokenizer is None:
            self.findings.add(Hit("no-tokenizer", self.run.name))
        mask = "unknown" if self.mask is None else f"{self.mask.how}: {self.mask.rule}".rstrip(": ")
        return self.findings.report(self.trajectories, self.tokens, len(self.groups), mask)


def _chunks(trajectories: Iterable[Trajectory], size: int = 64) -> Iterator[list[Trajectory]]:
    chunk = []
    for trajectory in trajectories:
        chunk.append(trajectory)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
