"""``Converter``: samples of one source that are at hand, such as a trainer's batch, become trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actfocus_core.interop.building import Builder
from actfocus_core.interop.environment_text import NONE, environment_rule
from actfocus_core.interop.grouping import Groups
from actfocus_core.interop.reading import DataFile
from actfocus_core.interop.rendering import Renderer
from actfocus_core.interop.samples import Sample
from actfocus_core.spans import SpanRule
from actfocus_core.trajectory import Trajectory


class Converter:
    """Converts samples with one tokenizer and one span rule.

    ``model``: name of the sampling model where a sample has none. ``success_at``: the smallest reward that counts as success
    where a sample does not state it. Raises ActFocusError if the tokenizer does not provide character offsets.
    """

    def __init__(self, tokenizer: Any, rule: SpanRule, model: str = "", success_at: float = 1.0):
        self._renderer = Renderer(tokenizer, environment_rule(NONE))
        self._builder = Builder(rule, self._renderer.template.special, Groups(), model, success_at)
        self._source = DataFile(Path())

    def trajectories(self, samples: Sequence[Sample]) -> list[Trajectory]:
        """One trajectory per sample, in order; rollouts are numbered on from call to call."""
        streams = self._renderer.streams(samples)
        return [self._builder.trajectory(sample, stream, self._source) for sample, stream in zip(samples, streams)]
