"""``Streams``: what rollouts of a run lack or share with others; and checks of its steps, metrics and import."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain

import numpy as np

from actfocus_core.analysis.validate.findings import Hit
from actfocus_core.analysis.validate.rules import threshold
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.runs.info import Import
from actfocus_core.trajectory import Trajectory

DIFFERENT = 1e-4
"""Smallest difference of log-probs that is no rounding, in nats"""
OFFSET, OFFSET_TOKENS = 0.01, 50
"""Smallest mean difference, in nats, and number of tokens of an offset that is reported"""


class Streams:
    """Collects which scores the rollouts have, and how the trainer's log-probs differ from the sampler's."""

    def __init__(self) -> None:
        self._first, self._rollouts = "", 0
        self._with: Counter[str] = Counter()
        self._without: dict[str, str] = {}
        self._above = self._below = 0
        self._sum, self._tokens = 0.0, 0
        self._offsets: dict[str, float] = {}

    def examine(self, t: Trajectory) -> None:
        sampled = t.response_mask
        if not sampled.any() or not t.trainable:
            return
        streams = {"logprobs": t.logprobs, **t.signals, **t.recorded}
        present = {name for name, values in streams.items() if np.isfinite(values[sampled]).any()}
        for name in present - set(self._with) if self._rollouts else ():
            self._without[name] = self._first
        for name in set(self._with) - present:
            self._without.setdefault(name, t.id)
        self._first, self._rollouts = self._first or t.id, self._rollouts + 1
        self._with.update(present)
        trainer = t.recorded.get("trainer_logprob", t.signals.get("trainer_logprob"))
        if trainer is not None:
            self._compare(t.id, (trainer - t.logprobs)[t.loss_mask].astype(np.float64))

    def _compare(self, id: str, difference: np.ndarray) -> None:
        difference = difference[np.isfinite(difference)]
        if not len(difference):
            return
        self._above += int((difference > DIFFERENT).sum())
        self._below += int((difference < -DIFFERENT).sum())
        self._sum, self._tokens = self._sum + float(difference.sum()), self._tokens + len(difference)
        self._offsets[id] = float(difference.mean())

    def conclude(self, run: Run) -> Iterator[Hit]:
        """What only all rollouts show."""
        total = self._rollouts
        partial = {name: number for name, number in sorted(self._with.items()) if number < total}
        if partial:
            detail = ", ".join(f"{name} is stored for {number} of {total} rollouts" for name, number in partial.items())
            yield Hit("missing-signals", self._without[next(iter(partial))], detail)
        if total and not self._with["logprobs"]:
            yield Hit("no-logprobs", run.name)
        different, one_sided = self._above + self._below, max(self._above, self._below)
        mean = self._sum / max(self._tokens, 1)
        is_offset = one_sided >= threshold("logprob-offset") * different and abs(mean) >= OFFSET
        if different >= OFFSET_TOKENS and is_offset and (self._above > self._below) == (mean > 0):
            side = "above" if mean > 0 else "below"
            detail = f"{one_sided / different:.0%} of {different} tokens are {side}, by {abs(mean):.3f} nats on average"
            for id, offset in self._offsets.items():
                if offset * mean > 0:
                    yield Hit("logprob-offset", id, detail)


def of_run(run: Run) -> Iterator[Hit]:
    """Checks of what a run says about itself: its steps, its metrics and how it was imported."""
    if detail := _missing_steps(run.steps()):
        yield Hit("missing-steps", run.name, detail)
    if detail := _missing_metrics(run):
        yield Hit("missing-metrics", run.name, detail)
    metadata = run.metadata
    if metadata.approximate:
        yield Hit("approximate", run.name)
    if isinstance(metadata.config, Import):
        for check, detail in of_import(metadata.config):
            yield Hit(check, run.name, detail)
    mask = metadata.provenance.mask
    if mask is not None and mask.how != "recorded":
        yield Hit("mask-unstated", run.name, mask.rule)


def _missing_steps(steps: list[int]) -> str:
    """The steps after which a usual distance is exceeded."""
    distances = np.diff(steps)
    if len(distances) < 2:
        return ""
    usual, count = min(Counter(distances.tolist()).most_common(), key=lambda item: (-item[1], item[0]))
    gaps = [(before, after) for before, after in zip(steps, steps[1:]) if after - before > usual]
    if not gaps or count < threshold("missing-steps") * len(distances):
        return ""
    before, after = gaps[0]
    more = f", and {len(gaps) - 1} more" if len(gaps) > 1 else ""
    return f"between {before} and {after}{more}; the usual distance is {usual}"


def _missing_metrics(run: Run) -> str:
    """Metrics that most steps have and some lack, and steps with rollouts and no metrics."""
    try:
        rows, _ = run.metrics()
    except ActFocusError as error:
        return str(error)
    if not rows:
        return ""
    names: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        names[int(row["step"])].update(name for name, value in row.items() if value is not None)
    without = [step for step in run.steps() if step not in names and min(names) < step < max(names)]
    found = (
        [f"none for step {without[0]}" + (f" and {len(without) - 1} more" if without[1:] else "")] if without else []
    )
    counts = Counter(chain.from_iterable(names.values()))
    for name, count in sorted(counts.items()):
        if threshold("missing-metrics") * len(names) <= count < len(names):
            first = next(step for step in sorted(names) if name not in names[step])
            found.append(f"{name} in {len(names) - count} of {len(names)} steps, first in step {first}")
    return "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")


def of_import(config: Import) -> Iterator[tuple[str, str]]:
    """What an import guessed or left out: (rule, detail)."""
    columns, numeric = config.reward_columns, config.numeric_columns
    others = ", ".join(name for name in numeric if name not in columns)
    reason = {"name": "by their names", "advantage": "because their sum explains the recorded advantages"}.get(
        config.reward_columns_by or ""
    )
    if reason and columns:
        yield (
            "reward-columns",
            f"{', '.join(columns)} were chosen {reason}" + (f", and {others} were not" if others else ""),
        )
    if config.reward_columns_by == "unknown" and numeric:
        yield "reward-unknown", others
    if config.left_out:
        examples = config.left_out_examples or {}
        kinds = (
            f"{n} {kind}" + (f" (first: {examples[kind]})" if kind in examples else "")
            for kind, n in config.left_out.items()
        )
        yield "left-out", ", ".join(kinds)
    if config.environment_text:
        yield "environment-text", ", ".join(f"{n} of {name}" for name, n in config.environment_text.items())
    if config.spans_by and config.action_tokens_by_rule:
        counts = ", ".join(f"{rule} {count}" for rule, count in config.action_tokens_by_rule.items())
        chosen = "was chosen because it fits most replies" if config.spans_by == "content" else "was given"
        yield (
            "span-rule",
            f"the span rule {config.spans} {chosen}; action tokens in the first {config.replies_examined} replies: {counts}",
        )
    by_reward = (config.success_by or {}).get("reward")
    if by_reward and config.success_at is not None:
        yield (
            "success-by-reward",
            f"{by_reward} rollouts; a reward of {config.success_at:g} or more counts (--success-at)",
        )
    if ids := config.foreign_ids:
        yield (
            "other-tokenizer",
            f"in {ids.get('rollouts')} of {ids.get('of')} rollouts the ids decode to none of the texts that the file states "
            f"beside them (first: {ids.get('example')})",
        )
