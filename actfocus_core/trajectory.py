"""The data model: a trajectory is a flat sequence of token ids with parallel per-token arrays.

Conventions (lengths are checked at construction):

* every per-token array has the length T of ``token_ids``;
* a value at index t describes the prediction of token t, from the logits at t - 1;
* NaN means not scored, 0 means scored and zero;
* ``texts[t]`` is the text that token t adds; concatenated they are the dialogue exactly as the policy read it. Text is never
  decoded and encoded again.

A ``Trajectory`` is one segment: one context in which tokens were sampled. A rollout has one or more segments (branches,
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
    """The origin and role of a token (method.md section 1; TEMPLATE and FORMAT are ours)."""

    SYSTEM = 0
    """The task description."""
    USER = 1
    """An observation of the environment."""
    TEMPLATE = 2
    """The chat template: role headers, separators, a forced opening tag; never sampled."""
    REASONING = 3
    """Sampled, strictly inside ``<think>`` ... ``</think>``."""
    ACTION = 4
    """Sampled, inside a well-formed ``<answer>`` ... ``</answer>``; ``dialogue.response_kinds`` on tokens across its borders."""
    FORMAT = 5
    """Sampled, everything else: tags, white space, end of turn, malformed answers."""


RESPONSE_KINDS = (TokenKind.REASONING, TokenKind.ACTION, TokenKind.FORMAT)


def response_mask(kinds: np.ndarray) -> np.ndarray:
    """True for tokens the policy sampled; for kinds of any shape."""
    return np.asarray(kinds) >= TokenKind.REASONING


RECORDED = {
    "trainer_logprob": "log-prob of the token under the trainer's weights, before the update",
    "advantage": "advantage assigned by the trainer",
    "importance_ratio": "probability under the trainer divided by that under the sampler",
    "mismatch_kl": "KL between sampler and trainer with the same weights, estimated at the token",
    "loss_weight": "factor on the token's term of the loss",
    "clipped": "1 where clipping of the ratio zeroed the gradient, else 0",
    "masked": "1 where the trainer excluded the token from the loss, else 0",
    "teacher_logprob": "log-prob of the token under a teacher",
    "value": "value of the critic before the token",
    "entropy": "entropy of the trainer's distribution, nats",
}
"""The streams of ``Trajectory.recorded``: name -> meaning."""


class Parent(NamedTuple):
    """The origin of a segment."""

    segment: int
    """index of an earlier segment of the rollout"""
    token: int
    """length of the common prefix: the first ``token`` tokens of the parent are also those of this segment. 0 for a context
    without a common prefix, such as that of a sub-agent or a compacted one"""


class Component(NamedTuple):
    """A component of the reward, which contributes ``score * weight``."""

    score: float
    """NaN: not scored"""
    weight: float = 1.0
    """NaN: not recorded"""

    @property
    def known(self) -> bool:
        """Whether the contribution is known."""
        return math.isfinite(self.score) and math.isfinite(self.weight)


def check_columns(columns: object, where: str) -> None:
    """Raise ActFocusError if ``columns`` is not a dictionary of JSON scalars that can be encoded as UTF-8."""
    required = f"{where}: columns must be an object of text, true, false, null and finite numbers"
    if not isinstance(columns, dict):
        raise ActFocusError(f"{required}, not {type(columns).__name__}")
    for name, value in columns.items():
        scalar = isinstance(value, (str, bool, int, NoneType)) or (isinstance(value, float) and math.isfinite(value))
        if not isinstance(name, str) or not scalar:
            raise ActFocusError(f"{required}; {str(name)[:40]!r} is not")
    try:
        "".join(text for pair in columns.items() for text in pair if isinstance(text, str)).encode("utf-8")
    except UnicodeEncodeError:
        raise ActFocusError(f"{required}; one contains an unpaired surrogate") from None


@dataclass
class Turn:
    """One exchange: the observation, the response of the policy, and the result in the environment."""

    observation: str
    response: str
    actions: list[str]
    """The executed actions, as the environment spells them."""
    valid: bool
    """Whether the answer was well formed and all its actions legal."""
    reward: float
    penalty: float
    state_key: str
    """Identifies the state before the actions; equal states have equal keys."""
    state: dict[str, Any]
    """Argument of ``env.restore`` for the state before the actions. JSON."""
    messages: Any = None
    """The messages the policy read and wrote in this turn, as in the source file. JSON or None."""
    tools: Any = None
    """The available tools. JSON or None."""
    calls: Any = None
    """The tool calls of the reply, with their results if known. JSON or None."""


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
    """One segment of a rollout of a prompt; see the conventions in the module docstring."""

    id: str
    token_ids: np.ndarray
    """int32 [T]"""
    kinds: np.ndarray
    """uint8 [T], values of TokenKind"""
    turns: np.ndarray
    """int16 [T], the turn of each token, -1 before the first turn"""
    logprobs: np.ndarray
    """float32 [T], log-prob of the sampled token under the rollout policy (temperature 1);
    NaN for tokens that were not sampled"""
    texts: list[str]
    """T strings; see the module docstring"""
    turn_records: list[Turn] = field(default_factory=list)
    signals: dict[str, np.ndarray] = field(default_factory=dict)
    """name -> float32 [T]: ``entropy`` from the rollout; ``ref_energy``, ``ref_entropy`` and ``ref_logprob`` from a reference
    model"""
    alternatives: Alternatives | None = None
    group: str = ""
    """Name of the prompt; statistics are per group and count each rollout once."""
    env: str = ""
    seed: int = 0
    rollout: int = 0
    step: int = 0
    model: str = ""
    reward: float = 0.0
    """NaN: unknown. The total of ``rewards``, if these are given"""
    penalty: float = 0.0
    success: bool | None = None
    """None: unknown"""
    terminated: bool = False
    """The environment ended the episode."""
    truncated: bool = False
    """Whether it was cut off because the action budget, the number of turns or the context was exhausted."""
    columns: dict[str, str | bool | int | float | None] = field(default_factory=dict)
    """Additional columns of the imported file; numbers are finite"""
    rollout_id: str = ""
    """Equal, within a group, for the segments of one rollout, which statistics count once; empty: a rollout with one segment"""
    segment: int = 0
    """Index of this segment in its rollout, in the order in which the segments began"""
    parent: Parent | None = None
    """Origin of this segment, or None; a tuple (segment, token) is accepted"""
    agent: str = ""
    """The agent that sampled it, if there are several"""
    trainable: bool = True
    """False for an agent that is not trained, such as a judge: it is displayed, but excluded from statistics and loss"""
    in_loss: np.ndarray | None = None
    """bool [T], the loss mask of the trainer; None: not recorded, all sampled tokens (see ``loss_mask``)"""
    recorded: dict[str, np.ndarray] = field(default_factory=dict)
    """name -> float32 [T]: streams of RECORDED written by a trainer; NaN: not recorded"""
    policy_version: np.ndarray | None = None
    """int32 [T], the version of the weights that sampled each token, -1 if not sampled or unknown; None: not recorded"""
    rewards: dict[str, Component] = field(default_factory=dict)
    """name -> (score, weight); tuples are accepted"""
    error: str = ""
    """The error that ended the rollout; empty: none"""
    stop_reason: str = ""
    """Why sampling ended, as reported by the sampler; empty: not recorded"""

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
                f"trajectory {self.id}: unknown stream {str(unknown)[:40]!r} in recorded; allowed: {', '.join(RECORDED)}"
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
                    f"trajectory {self.id}: {name} has {len(array)} values for {len(self)} tokens; the lengths must be equal"
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
                f"trajectory {self.id}: parent is {tuple(self.parent)}; it must be (a segment below {self.segment}, "
                f"the length of the common prefix, at most {len(self)})"
            )

    def _check_rewards(self) -> None:
        self.rewards = {name: Component(*component) for name, component in self.rewards.items()}
        if not self.rewards or not math.isfinite(self.reward) or not all(c.known for c in self.rewards.values()):
            return
        parts = [c.score * c.weight for c in self.rewards.values()]
        # Recorded totals are often rounded to float32.
        if not math.isclose(sum(parts), self.reward, abs_tol=1e-6 + 1e-5 * sum(map(abs, parts))):
            raise ActFocusError(
                f"trajectory {self.id}: rewards add up to {sum(parts):.6g} and reward is {self.reward:.6g}; reward must be "
                "their total, or NaN if it is unknown"
            )

    def __len__(self) -> int:
        """The number of tokens T."""
        return len(self.token_ids)

    @property
    def ret(self) -> float:
        """The return: rewards plus penalties."""
        return self.reward + self.penalty

    @property
    def rollout_key(self) -> str:
        """Equal, within a group, for the segments of one rollout."""
        return self.rollout_id or self.id

    @property
    def response_mask(self) -> np.ndarray:
        """bool [T], True for tokens the policy sampled."""
        return response_mask(self.kinds)

    @property
    def loss_mask(self) -> npt.NDArray[np.bool_]:
        """bool [T], True for tokens in the loss.

        These are the sampled tokens, intersected with ``in_loss`` if recorded; other tokens have no policy gradient. Excluded
        are all tokens of an agent that is not trained, and the prefix shared with ``parent``: every token is in the loss once,
        in the segment in which it was sampled.
        """
        mask: npt.NDArray[np.bool_] = self.response_mask & self.trainable
        if self.in_loss is not None:
            mask &= self.in_loss
        if self.parent is not None:
            mask[: self.parent.token] = False
        return mask

    @property
    def kinds_in_loss(self) -> npt.NDArray[np.uint8]:
        """uint8 [T], the kinds as credit schemes see them: TEMPLATE for a sampled token outside the loss."""
        return np.where(self.loss_mask | ~self.response_mask, self.kinds, np.uint8(TokenKind.TEMPLATE))

    @property
    def answered(self) -> set[int]:
        """The turns with a well-formed reply: the required reasoning and an answer. Other turns have no action tokens.

        Whether the actions are legal is a separate question: ``Turn.valid``.
        """
        return {int(k) for k in self.turns[self.kinds == TokenKind.ACTION]}

    def text(self, kind: TokenKind | None = None, turn: int | None = None) -> str:
        """The text of all tokens, or of the tokens of a kind or a turn."""
        keep = np.ones(len(self), bool)
        if kind is not None:
            keep &= self.kinds == kind
        if turn is not None:
            keep &= self.turns == turn
        return "".join(t for t, k in zip(self.texts, keep) if k)

    def _repr_html_(self) -> str:
        """HTML for notebooks: tokens coloured by kind, with their values on hover."""
        from actfocus_core.reports.token_html import trajectory_html

        return trajectory_html(self)
