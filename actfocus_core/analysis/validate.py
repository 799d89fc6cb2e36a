"""Validation of rollouts: checks that stream over a run and hold no trajectory in memory.

Findings have a severity: ``error`` means that training on these rollouts would be wrong, ``warning`` that part of them is
wasted or doubtful, ``info`` that something could not be checked or is worth knowing.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from actfocus_core.analysis.checks import CHECKS, MAX_DRIFT, MEAN_DRIFT, OF_IMPORT, of_import
from actfocus_core.dialogue import Spans, response_kinds, template_ids
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.runs.info import Import
from actfocus_core.spans import SpanRule, span_rule
from actfocus_core.trajectory import TokenKind, Trajectory, response_mask

if TYPE_CHECKING:
    from actfocus_core.policy import Policy

SEVERITIES = ("error", "warning", "info")
EXAMPLES = 5
"""Number of example ids stored per finding."""
_ROLE_LINE = re.compile(r"(?:^|\n)(?:system|user|tool|assistant)\n")
_SPECIAL_TEXT = re.compile(r"<\|[^<>|]{1,40}\|>|</?s>|<(?:bos|eos|pad|start_of_turn|end_of_turn)>")


@dataclass
class Finding:
    """A problem, and how often it was found."""

    check: str
    severity: str
    message: str
    """The meaning of the problem and how to correct it."""
    count: int = 0
    of: int = 0
    """The number of trajectories checked, or of groups for a check of groups."""
    examples: list[str] = field(default_factory=list)
    """Up to EXAMPLES trajectory ids, or group names."""


@dataclass
class Report:
    """The findings of a run."""

    trajectories: int
    tokens: int
    findings: list[Finding]
    """Ordered by severity, errors first, and then by decreasing frequency."""

    @property
    def healthy(self) -> bool:
        """Whether there is no finding of severity ``error``."""
        return all(finding.severity != "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "healthy": self.healthy}


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
    validator = _Validator(span_rule(spans or run.metadata.spans), tokenizer)
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
    metadata = run.metadata
    if metadata.approximate:
        validator.note("approximate", run.name)
    if isinstance(metadata.config, Import):
        for check, detail in of_import(metadata.config):
            validator.note(check, run.name, detail=detail)
        mask = metadata.provenance.mask
        if mask is not None and mask.how != "recorded":
            validator.note("mask-unstated", run.name, detail=mask.rule)
    return validator.report()


class _Validator:
    """Collects findings over a stream of trajectories."""

    def __init__(self, rule: SpanRule, tokenizer: Any):
        self.rule, self.tokenizer = rule, tokenizer
        self.trajectories = self.tokens = 0
        self.special = template_ids(tokenizer) if tokenizer is not None else set()
        self.found: dict[str, Finding] = {}
        self.returns: dict[str, dict[str, float]] = defaultdict(dict)
        self.seen: dict[bytes, str] = {}
        self.scored = 0

    def note(self, check: str, example: str, **detail: str) -> None:
        severity, message = CHECKS[check]
        finding = self.found.setdefault(check, Finding(check, severity, message.format(**detail)))
        finding.count += 1
        if len(finding.examples) < EXAMPLES:
            finding.examples.append(example)

    def unreadable(self, id: str, error: ActFocusError) -> None:
        self.trajectories += 1
        self.note("unreadable", id, detail=str(error))

    def examine(self, t: Trajectory) -> None:
        self.trajectories += 1
        self.tokens += len(t)
        if t.trainable:
            self.returns[t.group][t.rollout_key] = t.ret
        for check in _of_stream(t):
            self.note(check, t.id)
        if not len(t):
            return
        for check in (*_of_scores(t), *self._of_replies(t), *self._of_text(t)):
            self.note(check, t.id)
        self.scored += bool(np.isfinite(t.logprobs).any())
        key = hashlib.blake2b(t.group.encode() + b"\0" + t.token_ids.tobytes(), digest_size=12).digest()
        if self.seen.setdefault(key, t.id) != t.id:
            self.note("duplicate", t.id)

    def compare(self, t: Trajectory) -> None:
        """Compare the stored log-probs with those of the reference pass."""
        both = np.isfinite(t.logprobs) & np.isfinite(t.signals["ref_logprob"])
        difference = np.abs(t.logprobs - t.signals["ref_logprob"])[both]
        # If most tokens are nearly certain, the mean does not reveal a shift.
        if both.any() and (difference.mean() > MEAN_DRIFT or difference.max() > MAX_DRIFT):
            self.note("logprob-reference", t.id)

    def _of_replies(self, t: Trajectory) -> Iterator[str]:
        """Checks of the replies of the policy."""
        wrong_kinds = in_loss = False
        closed = True
        for begin, end, opens in _replies(t):
            texts, text = t.texts[begin:end], "".join(t.texts[begin:end])
            # Text from messages may lack the opening tag written by the template, so both readings are accepted.
            wrong_kinds |= not any(
                _kinds_fit(texts, self.rule.find(text, o), t.kinds[begin:end]) for o in (opens, True)
            )
            # The only template token allowed in a reply is the last one, which ends the turn.
            in_loss |= any(self._is_template(t, i) for i in range(begin, end - 1)) or bool(_ROLE_LINE.search(text))
            closed = _closed(text, opens) and (self._is_template(t, end - 1) or not t.truncated)
        if wrong_kinds:
            yield "kinds-spans"
        if in_loss:
            yield "template-in-loss"
        if not closed:
            yield "truncated-answer"

    def _is_template(self, t: Trajectory, i: int) -> bool:
        """Whether a token is a special token of the chat template."""
        return int(t.token_ids[i]) in self.special if self.special else bool(_SPECIAL_TEXT.fullmatch(t.texts[i]))

    def _of_text(self, t: Trajectory) -> Iterator[str]:
        if t.token_ids.min() < 0 or (self.tokenizer is not None and t.token_ids.max() >= len(self.tokenizer)):
            yield "token-ids"
            return
        if self.tokenizer is None:
            return
        text = "".join(t.texts)
        decoded = self.tokenizer.decode(
            t.token_ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        if decoded != text:
            yield "ids-text"
        elif self.tokenizer(text, add_special_tokens=False)["input_ids"] != t.token_ids.tolist():
            yield "drift"

    def report(self) -> Report:
        for group, returns in self.returns.items():
            if len(returns) == 1:
                self.note("single-rollout", group)
            elif np.ptp([*returns.values()]) == 0:
                self.note("zero-spread", group)
        if self.trajectories and not self.scored:
            self.note("no-logprobs", "all")
        if self.tokenizer is None:
            self.note("no-tokenizer", "all")
        groups, whole = ("zero-spread", "single-rollout"), ("no-logprobs", "no-tokenizer", "approximate", *OF_IMPORT)
        for name, finding in self.found.items():
            finding.of = len(self.returns) if name in groups else 1 if name in whole else self.trajectories
        order = sorted(self.found.values(), key=lambda f: (SEVERITIES.index(f.severity), -f.count))
        return Report(self.trajectories, self.tokens, order)


def _of_stream(t: Trajectory) -> Iterator[str]:
    if not len(t):
        yield "empty"
        return
    sampled = t.response_mask
    if not sampled.any():
        yield "nothing-sampled"
    elif not (t.kinds == TokenKind.ACTION).any():
        yield "no-action"
    if t.error:
        yield "errored"
    if (np.diff(t.turns) < 0).any() or t.turns.max() >= max(len(t.turn_records), 1) or t.turns.min() < -1:
        yield "turn-order"
    if not np.isfinite(t.ret):
        if t.trainable:
            yield "reward-nan"
    elif t.turn_records and not np.isclose(sum(r.reward for r in t.turn_records), t.reward, atol=1e-6):
        yield "return-turns"


def _of_scores(t: Trajectory) -> Iterator[str]:
    scored, sampled = ~np.isnan(t.logprobs), t.response_mask
    if scored.any() and ((scored & ~sampled).any() or (~scored & sampled).any()):
        yield "kinds-mask"
    if (t.logprobs[scored] > 1e-3).any() or np.isinf(t.logprobs).any():
        yield "logprob-value"
    for values in t.signals.values():
        on = ~np.isnan(values[sampled])
        if np.isinf(values).any() or (on.any() and not on.all()):
            yield "signal-value"
            return


def _replies(t: Trajectory) -> Iterator[tuple[int, int, bool]]:
    """The spans of consecutive sampled tokens: (start, end, whether the reasoning tag was opened before)."""
    edges = np.flatnonzero(np.diff(response_mask(t.kinds).astype(np.int8), prepend=0, append=0))
    for begin, end in edges.reshape(-1, 2).tolist():
        yield begin, end, "".join(t.texts[max(0, begin - 16) : begin]).rstrip().endswith("<think>")


def _kinds_fit(texts: list[str], spans: Spans, kinds: np.ndarray) -> bool:
    return np.array_equal(np.array(response_kinds(texts, spans), np.uint8), kinds)


def _closed(text: str, opens: bool) -> bool:
    """Whether every opened tag of the reply is closed."""
    counts = Counter(re.findall(r"</?(?:think|answer|tool_call)>", text))
    counts["<think>"] += opens
    return all(counts[f"<{tag}>"] <= counts[f"</{tag}>"] for tag in ("think", "answer", "tool_call"))


def _chunks(trajectories: Iterable[Trajectory], size: int = 64) -> Iterator[list[Trajectory]]:
    chunk = []
    for trajectory in trajectories:
        chunk.append(trajectory)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
