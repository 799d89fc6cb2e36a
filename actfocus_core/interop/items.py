"""From the items of a chunk of files to trajectories: of ActFocus's own formats, and of those of other programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.building import Builder
from actfocus_core.interop.environment_text import environment_rule
from actfocus_core.interop.foreign_ids import ForeignIds
from actfocus_core.interop.formats import UNREADABLE_RECORDS
from actfocus_core.interop.grouping import Groups
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.provenance import Sources
from actfocus_core.interop.reading import DataFile
from actfocus_core.interop.rendering import Renderer, Stream
from actfocus_core.interop.samples import BY_PROMPT, RECORDED, Sample, Tokens
from actfocus_core.interop.span_choice import SpanChoice, choose_rule
from actfocus_core.runs.provenance import Source
from actfocus_core.spans import DEFAULT, SpanRule
from actfocus_core.trajectory import Trajectory

AUTO = "auto"
UNMATCHED_REWARDS = "lists of rewards per turn without an entry per reply"


@dataclass(frozen=True)
class Interpretation:
    """How an import interprets what files of other programs do not state."""

    tokenizer: str
    rule: SpanRule | None
    """None: chosen by the first chunk"""
    environment_spans: str
    success_at: float


Item = tuple[DataFile, Sample | Trajectory]


@dataclass
class OwnFormat:
    """Imports a format that stores whole trajectories."""

    rule: SpanRule

    def trajectories(self, chunk: list[Item]) -> Iterator[Trajectory]:
        return (item for _, item in chunk if isinstance(item, Trajectory))

    def config(self) -> dict[str, Any]:
        return {"spans": self.rule.name}

    def provenance(self) -> dict[str, Any]:
        return {}


def foreign_format(how: Interpretation, omissions: Omissions) -> ForeignFormat:
    """Raises ActFocusError for a tokenizer that cannot be loaded, and for an invalid rule of environment text."""
    from actfocus_core.policy import load_tokenizer

    return ForeignFormat(
        how, Renderer(load_tokenizer(how.tokenizer), environment_rule(how.environment_spans)), omissions
    )


@dataclass
class ForeignFormat:
    """Imports samples: renders them, chooses a span rule by the first chunk unless one is given, and builds trajectories."""

    how: Interpretation
    renderer: Renderer
    omissions: Omissions
    sources: Sources = field(default_factory=Sources)
    groups: Groups = field(default_factory=Groups)
    foreign_ids: ForeignIds = field(default_factory=ForeignIds)
    environment: Counter[str] = field(default_factory=Counter)
    success_by: Counter[str] = field(default_factory=Counter)
    choice: SpanChoice | None = None
    approximate: bool = False

    def trajectories(self, chunk: list[Item]) -> Iterator[Trajectory]:
        samples = [(file, item) for file, item in chunk if isinstance(item, Sample)]
        rendered = self._rendered(samples)
        if self.choice is None:
            self.choice = self._choose(rendered)
        for file, sample, stream in rendered:
            try:
                trajectory = self.builder.trajectory(sample, stream, file)
            except ActFocusError as error:
                self.omissions.refuse(UNREADABLE_RECORDS, ActFocusError(f"{sample.where}: {error}"))
                continue
            self._note(sample, stream, trajectory)
            yield trajectory

    def config(self) -> dict[str, Any]:
        assert self.choice is not None  # there was a chunk
        return {
            "approximate": self.approximate,
            "spans": self.choice.rule.name,
            "spans_by": "content" if self.how.rule is None else "given",
            "action_tokens_by_rule": self.choice.action_tokens,
            "replies_examined": self.choice.replies,
            "environment_spans": self.how.environment_spans,
            "environment_text": dict(self.environment),
            "success_by": dict(self.success_by),
            **self.foreign_ids.config(),
        }

    def provenance(self) -> dict[str, Any]:
        return self.sources.provenance().model_dump(exclude_none=True)

    def _rendered(self, samples: list[tuple[DataFile, Sample]]) -> list[tuple[DataFile, Sample, Stream]]:
        """The samples with their streams; those that cannot be rendered are counted."""
        try:
            streams = self.renderer.streams([sample for _, sample in samples])
            return [(file, sample, stream) for (file, sample), stream in zip(samples, streams)]
        except ActFocusError as error:
            if len(samples) == 1:
                self.omissions.refuse(UNREADABLE_RECORDS, error)
                return []
        # One of them: rendered one by one, the others are kept.
        return [row for pair in samples for row in self._rendered([pair])]

    def _choose(self, rendered: list[tuple[DataFile, Sample, Stream]]) -> SpanChoice:
        builder = self._builder(self.how.rule or DEFAULT)
        replies = (reply for _, sample, stream in rendered for reply in builder.replies(stream, sample))
        choice = choose_rule(replies, self.how.rule)
        self.builder = self._builder(choice.rule)
        return choice

    def _builder(self, rule: SpanRule) -> Builder:
        return Builder(rule, self.renderer.template.special, self.groups, self.how.tokenizer, self.how.success_at)

    def _note(self, sample: Sample, stream: Stream, trajectory: Trajectory) -> None:
        """Count what was found in a sample, and how it is known."""
        exact = isinstance(sample.content, Tokens)
        self.approximate |= not exact
        self.foreign_ids.examine(sample, stream.texts)
        self.environment += stream.environment
        for unread in (*sample.unread, *stream.unread, *_unread(sample, len(trajectory.turn_records))):
            self.omissions.add(unread, sample.where)
        known = self.builder.success(sample) is not None
        self.success_by["file" if sample.success is not None else "reward" if known else "unknown"] += 1
        assert self.choice is not None  # chosen before the first sample was built
        by_spans = Source(how="derived", rule=f"span rule {self.choice.rule.name}")
        self.sources.add("ids", RECORDED if exact else Source(how="derived", rule="the text was tokenised again"))
        self.sources.add("kinds", by_spans)
        self.sources.add("mask", stream.mask_by)
        self.sources.add("groups", RECORDED if sample.group else BY_PROMPT)
        self.sources.add("rewards", sample.rewards_by)
        if exact or np.isfinite(stream.tokens.logprobs).any():
            self.sources.add("logprobs", RECORDED)


def _unread(sample: Sample, replies: int) -> Iterator[str]:
    """What of the sample's messages has no place in a text, and rewards that belong to none of its replies."""
    if isinstance(sample.content, list):
        for message in sample.content:
            yield from message.unread
    if sample.turn_rewards is not None and len(sample.turn_rewards) != replies:
        yield UNMATCHED_REWARDS
