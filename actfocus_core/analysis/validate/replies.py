"""``Replies``: checks of what the policy sampled, against the span rule and the chat template."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np

from actfocus_core.analysis.validate.borders import ROLE_LINE, Border, Borders
from actfocus_core.analysis.validate.findings import Hit
from actfocus_core.analysis.validate.rules import threshold
from actfocus_core.analysis.validate.scores import reply_spans
from actfocus_core.dialogue import Spans, response_kinds
from actfocus_core.spans import SpanRule
from actfocus_core.trajectory import Trajectory

REPEATED_ANYWHERE = 8
"""Equal replies in a row that are reported whatever the environment answered"""
ZERO_ELSEWHERE = 0.02
"""Largest share of the other sampled tokens with a log-prob of exactly 0, at which zeros at the ends are conspicuous"""


class Replies:
    """Checks the replies of a stream of trajectories.

    ``exact``: the ids are those that were sampled. Otherwise the tokens that end turns are those of a template that was
    rendered at import, and say nothing about the policy.
    """

    def __init__(self, rule: SpanRule, tokenizer: Any, exact: bool):
        self.rule, self.exact = rule, exact
        self.borders = Borders(tokenizer)
        self.ends = _Ends()

    def examine(self, t: Trajectory) -> Iterator[Hit]:
        yield from (Hit(name, t.id) for name in self._of_replies(t))
        shifts = set()
        for border, (begin, end) in self._sampled(t):
            shift = _shift(border, begin, end)
            if shift:
                shifts.add(shift)
            elif self.exact and begin >= border.starts[0]:
                self.ends.add(t, border, end)
        if shifts:
            shift = max(shifts, key=abs)
            tokens = f"{abs(shift)} token{'s' * (abs(shift) > 1)}"
            yield Hit("mask-shifted", t.id, f"{tokens} too {'early' if shift < 0 else 'late'}")
        if detail := _repeated(t):
            yield Hit("repeated-reply", t.id, detail)

    def conclude(self) -> Iterator[Hit]:
        """What only the replies of all trajectories show."""
        return self.ends.conclude()

    def _sampled(self, t: Trajectory) -> Iterator[tuple[Border, tuple[int, int]]]:
        """The replies that have sampled tokens, each with the span of them that overlaps it most."""
        spans = reply_spans(t)
        for border in self.borders.of(t):
            stop = len(t) if border.end is None else border.end + 1
            overlaps = [(min(end, stop) - max(begin, border.starts[0]), (begin, end)) for begin, end in spans]
            overlap, span = max(overlaps, default=(0, (0, 0)))
            if overlap > 0:
                yield border, span

    def _of_replies(self, t: Trajectory) -> Iterator[str]:
        wrong_kinds = in_loss = False
        closed = True
        for begin, end in reply_spans(t):
            opens = "".join(t.texts[max(0, begin - 16) : begin]).rstrip().endswith("<think>")
            texts, text = t.texts[begin:end], "".join(t.texts[begin:end])
            # Text from messages may lack the opening tag written by the template, so both readings are accepted.
            wrong_kinds |= not any(
                _kinds_fit(texts, self.rule.find(text, o), t.kinds[begin:end]) for o in (opens, True)
            )
            # The only template token allowed in a reply is the last one, which ends the turn.
            in_loss |= any(self.borders.is_template(t, i) for i in range(begin, end - 1))
            in_loss |= bool(ROLE_LINE.search(text))
            closed = _closed(text, opens) and (self.borders.is_template(t, end - 1) or not t.truncated)
        if wrong_kinds:
            yield "kinds-spans"
        if in_loss:
            yield "template-in-loss"
        if not closed:
            yield "truncated-answer"


class _Ends:
    """Counts how replies end: with a token that ends the turn, in the loss or not, sampled or not."""

    def __init__(self) -> None:
        self.finished = self.unfinished = 0
        self.out_of_loss, self.missing, self.invented = ([], [], [])  # type: tuple[list[str], list[str], list[str]]
        self.scored_ends = self.other_zeros = self.others = 0

    def add(self, t: Trajectory, border: Border, end: int) -> None:
        """Count one reply, whose last sampled token is before ``end``."""
        if border.end is None:
            if not t.truncated and not t.error:
                self.unfinished += 1
                self.missing.append(t.id)
            return
        self.finished += 1
        if end <= border.end:
            if end == border.end:
                self.out_of_loss.append(t.id)
            return
        reply = t.logprobs[border.starts[0] : border.end]
        if np.isfinite(t.logprobs[border.end]) and np.isfinite(reply).any():
            self.scored_ends += 1
            self.others += int(np.isfinite(reply).sum())
            self.other_zeros += int((reply == 0).sum())
            if t.logprobs[border.end] == 0:
                self.invented.append(t.id)

    def conclude(self) -> Iterator[Hit]:
        if self.out_of_loss and len(self.out_of_loss) >= threshold("end-token-out-of-loss") * self.finished:
            detail = f"{len(self.out_of_loss)} of {self.finished} replies"
            yield from (Hit("end-token-out-of-loss", id, detail) for id in dict.fromkeys(self.out_of_loss))
        replies = self.finished + self.unfinished
        if self.missing and len(self.missing) >= threshold("end-token-missing") * replies:
            detail = f"{len(self.missing)} of {replies} replies"
            yield from (Hit("end-token-missing", id, detail) for id in dict.fromkeys(self.missing))
        often = len(self.invented) >= max(2, threshold("end-token-invented") * self.scored_ends)
        if often and self.other_zeros <= ZERO_ELSEWHERE * self.others:
            detail = f"{len(self.invented)} of {self.scored_ends}, and {self.other_zeros} of {self.others} other tokens"
            yield from (Hit("end-token-invented", id, detail) for id in dict.fromkeys(self.invented))


def _shift(border: Border, begin: int, end: int) -> int:
    """By how many tokens the sampled tokens [begin, end) are shifted against the reply; 0 if they are not.

    A shift moves both ends. One end alone may have other reasons: a prefix that the environment wrote, a stop string.
    """
    if border.end is None:
        return 0
    first, last = begin - border.starts[0], end - (border.end + 1)
    return first if first == last and abs(first) <= threshold("mask-shifted") else 0


def _repeated(t: Trajectory) -> str:
    """How often a reply is repeated in a row, if that is too often."""
    turns = [(turn.response.strip(), turn.observation.strip()) for turn in t.turn_records]
    stuck = max((len(list(run)) for turn, run in groupby(turns) if turn[0]), default=0)
    if stuck >= threshold("repeated-reply"):
        return f"{stuck} times in a row, to the same observation"
    equal = max((len(list(run)) for reply, run in groupby(reply for reply, _ in turns) if reply), default=0)
    return f"{equal} times in a row" if equal >= REPEATED_ANYWHERE else ""


def _kinds_fit(texts: list[str], spans: Spans, kinds: np.ndarray) -> bool:
    return np.array_equal(np.array(response_kinds(texts, spans), np.uint8), kinds)


def _closed(text: str, opens: bool) -> bool:
    """Whether every opened tag of the reply is closed."""
    counts = Counter(re.findall(r"</?(?:think|answer|tool_call)>", text))
    counts["<think>"] += opens
    return all(counts[f"<{tag}>"] <= counts[f"</{tag}>"] for tag in ("think", "answer", "tool_call"))
