"""The one data model: a trajectory is a flat stream of token ids with parallel arrays.

Invariants, checked at construction:

* every per-token array has the length T of ``token_ids``;
* a value at index t describes the prediction *of* token t (from the logits at t-1);
* NaN means not scored, 0 means scored and zero;
* ``texts[t]`` is what token t adds to the text: joined, they are the dialogue exactly
  as it was fed to the policy. Nothing is ever decoded and encoded again.

A ``Trajectory`` is one segment: one context that was sampled into. A rollout has one or more of them (branches,
sub-agents, compacted or rebuilt contexts), which share ``group`` and ``rollout_id``.
"""

from __future__ import annotations

import math
from collections.abc import Sized
from dataclasses import dataclass, field
from enum import IntEnum
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from actfocus_core.errors import ActFocusError


class TokenKind(IntEnum):
    """Who wrote a token, and what for (method.md section 1; TEMPLATE and FORMAT are ours)."""

    SYSTEM = 0
    """The task description."""
    USER = 1
    """An observation of the environment."""
    TEMPLATE = 2
    """The chat template: role headers, separators, a forced opener; never sampled."""
    REASONING = 3
    """Sampled, strictly inside ``<think>`` ... ``</think>``."""
    ACTION = 4
    """Sampled, strictly inside a well-formed ``<answer>`` ... ``</answer>``."""
    FORMAT = 5
    """Sampled, anything else: the tags, white space, end of turn, malformed answers."""


RESPONSE_KINDS = (TokenKind.REASONING, TokenKind.ACTION, TokenKind.FORMAT)


def response_mask(kinds: np.ndarray) -> np.ndarray:
    """True where the policy sampled the token, so where it enters the loss. Any shape."""
    return np.asarray(kinds) >= TokenKind.REASONING


RECORDED = {
    "trainer_logprob": "log-prob of the token under the trainer's weights, before the update",
    "advantage": "the advantage the trainer gave it",
    "importance_ratio": "probability under the trainer's weights over that under the sampler's",
    "mismatch_kl": "KL between the sampler and the trainer on the same weights, estimated at the token",
    "loss_weight": "factor on the token's term of the loss",
    "clipped": "1 where the clipping of the ratio cut the gradient, else 0",
    "masked": "1 where the trainer took the token out of the loss, else 0",
    "teacher_logprob": "log-prob of the token under a teacher",
    "value": "the critic's value before the token",
    "entropy": "entropy of the trainer's distribution, nats",
}
"""The streams of ``Trajectory.recorded``: name -> what a trainer means by it."""


class Parent(NamedTuple):
    """Where a segment grew from."""

    segment: int
    """number of an earlier segment of the rollout"""
    token: int
    """how many tokens both begin with: the parent's first ``token`` tokens are also this segment's. 0 for a context that
    shares nothing with it, such as a sub-agent's or a compacted one"""


class Component(NamedTuple):
    """One component of a reward; it adds ``score * weight``."""

    score: float
    """NaN: not scored"""
    weight: float = 1.0
    """NaN: not recorded"""

    @property
    def known(self) -> bool:
        """Whether what it adds is known."""
        return math.isfinite(self.score) and math.isfinite(self.weight)


def check_columns(columns: object, where: str) -> None:
    """Raises ActFocusError where these are not names with scalars of JSON, which UTF-8 and JSON can write."""
    what = f"{where}: columns must be an object of text, true, false, null and finite numbers"
    if not isinstance(columns, dict):
        raise ActFocusError(f"{what}, and it is none")
    for name, value in columns.items():
        scalar = isinstance(value, (str, bool, int, NoneType)) or (isinstance(value, float) and math.isfinite(value))
        if not isinstance(name, str) or not scalar:
            raise ActFocusError(f"{what}; {str(name)[:40]!r} is not")
    try:
        "".join(text for pair in columns.items() for text in pair if isinstance(text, str)).encode("utf-8")
    except UnicodeEncodeError:
        raise ActFocusError(f"{what}; one holds half of a surrogate pair") from None


@dataclass
class Turn:
    """One exchange: what the policy read, what it wrote, what the environment made of it."""

    observation: str
    response: str
    actions: list[str]
    """The actions carried out, in the environment's own spelling."""
    valid: bool
    """A well-formed answer whose actions were all legal."""
    reward: float
    penalty: float
    state_key: str
    """Identifies the state *before* the actions; equal states have equal keys."""
    state: dict[str, Any]
    """What ``env.restore`` needs to return to the state before the actions. JSON."""
    messages: Any = None
    """The messages the policy read and wrote in this turn, as the file has them. JSON, or None where it has none."""
    tools: Any = None
    """The tools that were offered. JSON or None"""
    calls: Any = None
    """The tool calls the reply made, with their results where these are known. JSON or None"""


@dataclass
class Alternatives:
    """The reference model's most likely tokens at each position."""

    ids: np.ndarray
    """int32 [T, k], -1 where not scored."""
    logprobs: np.ndarray
    """float32 [T, k], NaN where not scored."""
    texts: list[list[str]]
    """T lists of k strings, empty lists where not scored."""


@dataclass
class Trajectory:
    """One segment of a rollout of a prompt. Shapes and meanings: the module's docstring."""

    id: str
    token_ids: np.ndarray
    """int32 [T]"""
    kinds: np.ndarray
    """uint8 [T], values of TokenKind"""
    turns: np.ndarray
    """int16 [T], the turn a token belongs to, -1 before the first"""
    logprobs: np.ndarray
    """float32 [T], log-prob of the sampled token under the rollout policy (temperature 1);
    NaN for tokens that were not sampled"""
    texts: list[str]
    """T strings; see the module's docstring"""
    turn_records: list[Turn] = field(default_factory=list)
    signals: dict[str, np.ndarray] = field(default_factory=dict)
    """name -> float32 [T]: ``entropy`` from the rollout, ``ref_energy``, ``ref_entropy``,
    ``ref_logprob`` from a reference model"""
    alternatives: Alternatives | None = None
    group: str = ""
    """The prompt this is a rollout of; statistics are per group and count each rollout once."""
    env: str = ""
    seed: int = 0
    rollout: int = 0
    step: int = 0
    model: str = ""
    reward: float = 0.0
    """NaN: unknown. The total of ``rewards`` where these are given"""
    penalty: float = 0.0
    success: bool | None = None
    """None: unknown"""
    terminated: bool = False
    """The environment ended the episode."""
    truncated: bool = False
    """It was cut: the action budget, the last turn, or the model's context was spent."""
    columns: dict[str, str | bool | int | float | None] = field(default_factory=dict)
    """What else a file it was imported from had; numbers are finite"""
    rollout_id: str = ""
    """Trajectories of one group with the same one are segments of one rollout, which statistics count once; empty: a
    rollout of its own"""
    segment: int = 0
    """The number of this segment in its rollout; segments are numbered in the order they were begun"""
    parent: Parent | None = None
    """Where this segment grew from; None: from nothing. A pair (segment, token) is taken too"""
    agent: str = ""
    """Who sampled it, where several agents take part"""
    trainable: bool = True
    """False: an agent that is not trained, such as a judge. It is shown; statistics and the loss leave it out"""
    in_loss: np.ndarray | None = None
    """bool [T], the trainer's own loss mask; None: not recorded, then all sampled tokens (see ``loss_mask``)"""
    recorded: dict[str, np.ndarray] = field(default_factory=dict)
    """name -> float32 [T]: streams of RECORDED that a trainer wrote; NaN = not recorded"""
    policy_version: np.ndarray | None = None
    """int32 [T], which version of the weights sampled the token, -1 where none did or it is not known; None: not recorded"""
    rewards: dict[str, Component] = field(default_factory=dict)
    """name -> (score, weight); a pair is taken too"""
    error: str = ""
    """What ended it abnormally; empty: nothing did"""
    stop_reason: str = ""
    """Why sampling ended, in the words of whoever sampled; empty: not recorded"""

    def __post_init__(self) -> None:
        self.token_ids = np.asarray(self.token_ids, np.int32)
        self.kinds = np.asarray(self.kinds, np.uint8)
        self.turns = np.asarray(self.turns, np.int16)
        self.logprobs = np.asarray(self.logprobs, np.float32)
        self.signals = {name: np.asarray(v, np.float32) for name, v in self.signals.items()}
        self.recorded = {name: np.asarray(v, np.float32) for name, v in self.recorded.items()}
        if self.in_loss is not None:
            self.in_loss = np.asarray(self.in_loss, bool)
        if self.policy_version is not None:
            self.policy_version = np.asarray(self.policy_version, np.int32)
        self._check_arrays()
        check_columns(self.columns, f"trajectory {self.id}")
        self._check_segment()
        self._check_rewards()

    def _check_arrays(self) -> None:
        unknown = next((name for name in self.recorded if name not in RECORDED), None)
        if unknown is not None:
            raise ActFocusError(
                f"trajectory {self.id}: recorded has the stream {str(unknown)[:40]!r}; it may have {', '.join(RECORDED)}"
            )
        arrays: dict[str, Sized] = {
            "kinds": self.kinds,
            "turns": self.turns,
            "logprobs": self.logprobs,
            "texts": self.texts,
            **self.signals,
            **self.recorded,
        }
        optional = {"in_loss": self.in_loss, "policy_version": self.policy_version}
        arrays |= {name: values for name, values in optional.items() if values is not None}
        for name, array in arrays.items():
            if len(array) != len(self):
                raise ActFocusError(
                    f"trajectory {self.id}: {name} has {len(array)} values for {len(self)} tokens; they must be as many"
                )
        if len(self) and self.kinds.max() > max(TokenKind):
            raise ActFocusError(
                f"trajectory {self.id}: kind {self.kinds.max()} is not one of {[int(kind) for kind in TokenKind]}"
            )
        if self.policy_version is not None and len(self) and self.policy_version.min() < -1:
            raise ActFocusError(
                f"trajectory {self.id}: policy_version holds {self.policy_version.min()}; it must be -1 or above"
            )

    def _check_segment(self) -> None:
        if self.segment < 0:
            raise ActFocusError(f"trajectory {self.id}: segment is {self.segment}; it must be 0 or above")
        if self.parent is None:
            return
        self.parent = Parent(*self.parent)
        if not 0 <= self.parent.segment < self.segment or not 0 <= self.parent.token <= len(self):
            raise ActFocusError(
                f"trajectory {self.id}: parent is {tuple(self.parent)}; it must be (an earlier segment than {self.segment}, "
                f"how many of the {len(self)} tokens both begin with)"
            )

    def _check_rewards(self) -> None:
        self.rewards = {name: Component(*component) for name, component in self.rewards.items()}
        if not self.rewards or not math.isfinite(self.reward) or not all(c.known for c in self.rewards.values()):
            return
        parts = [c.score * c.weight for c in self.rewards.values()]
        # Recorded totals are often rounded to float32.
        if not math.isclose(sum(parts), self.reward, abs_tol=1e-6 + 1e-5 * sum(map(abs, parts))):
            raise ActFocusError(
                f"trajectory {self.id}: rewards add up to {sum(parts):.6g} and reward is {self.reward:.6g}; reward is "
                "their total, or NaN where it is unknown"
            )

    def __len__(self) -> int:
        """T, the number of tokens."""
        return len(self.token_ids)

    @property
    def ret(self) -> float:
        """The return: rewards plus penalties."""
        return self.reward + self.penalty

    @property
    def rollout_key(self) -> str:
        """Equal, within a group, for the trajectories that are one rollout."""
        return self.rollout_id or self.id

    @property
    def response_mask(self) -> np.ndarray:
        """bool [T], True where the policy sampled the token."""
        return response_mask(self.kinds)

    @property
    def loss_mask(self) -> npt.NDArray[np.bool_]:
        """bool [T], True where the token enters the loss.

        The sampled tokens, of these the ones in ``in_loss`` where that is recorded: a token that was not sampled has no
        policy gradient. None of an agent that is not trained, and none of the tokens shared with ``parent``: a token is in
        the loss once, in the segment where it was sampled.
        """
        mask: npt.NDArray[np.bool_] = self.response_mask & self.trainable
        if self.in_loss is not None:
            mask &= self.in_loss
        if self.parent is not None:
            mask[: self.parent.token] = False
        return mask

    @property
    def kinds_in_loss(self) -> npt.NDArray[np.uint8]:
        """uint8 [T], the kinds, with TEMPLATE for a sampled token that is not in the loss: what gives and counts credit."""
        return np.where(self.loss_mask | ~self.response_mask, self.kinds, np.uint8(TokenKind.TEMPLATE))

    @property
    def answered(self) -> set[int]:
        """The turns whose reply is well formed: the demanded thinking and an answer. Others have no action tokens.

        Whether the answer's actions are legal is another matter: ``Turn.valid``.
        """
        return {int(k) for k in self.turns[self.kinds == TokenKind.ACTION]}

    def text(self, kind: TokenKind | None = None, turn: int | None = None) -> str:
        """The text of all tokens, or of those of one kind or one turn."""
        keep = np.ones(len(self), bool)
        if kind is not None:
            keep &= self.kinds == kind
        if turn is not None:
            keep &= self.turns == turn
        return "".join(t for t, k in zip(self.texts, keep) if k)

    def _repr_html_(self) -> str:
        """What a notebook shows: the tokens by kind, their numbers on hover."""
        from actfocus_core.reports.token_html import trajectory_html

        return trajectory_html(self)
