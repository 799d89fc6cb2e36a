"""The tools that a batch calls: calls, errors, and the sums from which a page computes their credit for any alpha and beta."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from actfocus_core import blocks
from actfocus_core.credit.weights import sigmoid
from actfocus_core.reports.token_html import shown
from actfocus_core.signals import SIGNALS, signal_values
from actfocus_core.trajectory import RESPONSE_KINDS, TokenKind, Trajectory
from actfocus_studio.data.batch_cache import BatchConstants
from actfocus_studio.data.message import Message
from actfocus_studio.data.schema import Kinds, KindSums, SigmoidSums
from actfocus_studio.data.view import SCOPES, ViewRequest


class ToolsRequest(ViewRequest):
    """The tools of the group, or of the training step, of the trajectory that the view names."""

    over: Literal["group", "step"] = "step"


class TokenSums(Message):
    """What the weight of some tokens follows from."""

    kinds: Kinds
    signals: dict[str, dict[str, SigmoidSums] | None]
    """By signal and scope; null where an action token of the batch lacks the signal."""


class ToolUse(Message):
    """The calls of one tool."""

    name: str
    """Empty for calls whose tool could not be read"""
    calls: int
    errors: int
    succeeded: int
    """``calls`` less ``errors`` and ``succeeded`` have no result that could be read."""
    tokens: TokenSums


class ToolsResponse(Message):
    trajectories: int
    tools: list[ToolUse]
    """By number of calls"""
    total: TokenSums
    """Of all tokens"""


@dataclass
class _Tokens:
    """Columns of chosen tokens, gathered over trajectories."""

    kinds: list[np.ndarray] = field(default_factory=list)
    advantages: list[np.ndarray] = field(default_factory=list)
    scores: dict[tuple[str, str], list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    """(signal, scope) -> the sigmoid of the standardised signal"""


@dataclass
class _Use:
    calls: int = 0
    errors: int = 0
    succeeded: int = 0
    tokens: _Tokens = field(default_factory=_Tokens)


def tools(trajectories: Sequence[Trajectory], batch: BatchConstants) -> ToolsResponse:
    """The tools of some trajectories of a batch. Takes time linear in their text."""
    uses: dict[str, _Use] = defaultdict(_Use)
    total = _Tokens()
    for t in trajectories:
        columns = _Columns(t, batch)
        columns.add(slice(None), total)
        for call in calls(t):
            use = uses[call.name]
            use.calls += 1
            use.errors += call.error is True
            use.succeeded += call.error is False
            columns.add(slice(call.start, call.end), use.tokens)
    ordered = sorted(uses.items(), key=lambda item: (-item[1].calls, item[0]))
    return ToolsResponse(
        trajectories=len(trajectories),
        tools=[
            ToolUse(
                name=shown(name),
                calls=use.calls,
                errors=use.errors,
                succeeded=use.succeeded,
                tokens=_sums(use.tokens, batch),
            )
            for name, use in ordered
        ],
        total=_sums(total, batch),
    )


def calls(t: Trajectory) -> Iterator[blocks.Block]:
    """The calls of a trajectory, each in the context in which it was sampled."""
    shared = t.parent.token if t.parent else 0
    return (call for call in blocks.find(t.texts, t.kinds).calls if call.end > shared)


class _Columns:
    """The columns of one trajectory that the sums are made of."""

    def __init__(self, t: Trajectory, batch: BatchConstants):
        self.kinds = t.kinds_in_loss
        advantage = batch.advantages[t.id]
        self.advantages = np.full(len(t), 0.0 if advantage is None else abs(float(advantage)))
        self.scores = {
            (name, scope): _score(signal_values(t, name), sums.mean[cell], sums.std[cell])
            for name in SIGNALS
            for scope, sums in (batch.scopes[name] or {}).items()
            for cell in [batch.cells[scope][t.id]]
        }

    def add(self, where: slice, to: _Tokens) -> None:
        to.kinds.append(self.kinds[where])
        to.advantages.append(self.advantages[where])
        for key, values in self.scores.items():
            to.scores[key].append(values[where])


def _score(values: np.ndarray, mean: float, std: float) -> np.ndarray:
    return np.asarray(sigmoid((values.astype(np.float64) - mean) / std))


def _sums(tokens: _Tokens, batch: BatchConstants) -> TokenSums:
    kinds = np.concatenate([*tokens.kinds, np.zeros(0, np.uint8)])
    advantages = np.concatenate([*tokens.advantages, np.zeros(0)])
    action = kinds == TokenKind.ACTION

    def sigmoids(name: str, scope: str) -> SigmoidSums:
        s = np.concatenate([*tokens.scores[name, scope], np.zeros(0)])[action]
        a = advantages[action]
        return SigmoidSums(
            s1=float(s.sum()),
            s2=float((s**2).sum()),
            a1=float((a * s).sum()),
            b1=float((a**2 * s).sum()),
            b2=float((a**2 * s**2).sum()),
        )

    return TokenSums(
        kinds=Kinds(**{kind.name.lower(): _counts(advantages[kinds == kind]) for kind in RESPONSE_KINDS}),
        signals={
            name: None if batch.scopes[name] is None else {scope: sigmoids(name, scope) for scope in SCOPES}
            for name in SIGNALS
        },
    )


def _counts(a: np.ndarray) -> KindSums:
    return KindSums(n=len(a), a1=float(a.sum()), a2=float((a**2).sum()))
