"""The one data model: a trajectory is a flat stream of token ids with parallel arrays.

Invariants, checked at construction:

* every per-token array has the length T of ``token_ids``;
* a value at index t describes the prediction *of* token t (from the logits at t-1);
* NaN means not scored, 0 means scored and zero;
* ``texts[t]`` is what token t adds to the text: joined, they are the dialogue exactly
  as it was fed to the policy. Nothing is ever decoded and encoded again.
"""

from __future__ import annotations

import math
from collections.abc import Sized
from dataclasses import dataclass, field
from enum import IntEnum
from types import NoneType
from typing import Any

import numpy as np

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
    """One rollout of one prompt, or one context of it. Shapes and meanings: the module's docstring."""

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
    """The prompt this is a rollout of; statistics are per group, once a trajectory."""
    env: str = ""
    seed: int = 0
    rollout: int = 0
    step: int = 0
    model: str = ""
    reward: float = 0.0
    penalty: float = 0.0
    success: bool = False
    terminated: bool = False
    """The environment ended the episode."""
    truncated: bool = False
    """It was cut: the action budget, the last turn, or the model's context was spent."""
    columns: dict[str, str | bool | int | float | None] = field(default_factory=dict)
    """What else a file it was imported from had; numbers are finite"""
    rollout_id: str = ""
    """Trajectories of one group with the same one are contexts of one rollout, which statistics count once; empty: a
    rollout of its own"""

    def __post_init__(self) -> None:
        self.token_ids = np.asarray(self.token_ids, np.int32)
        self.kinds = np.asarray(self.kinds, np.uint8)
        self.turns = np.asarray(self.turns, np.int16)
        self.logprobs = np.asarray(self.logprobs, np.float32)
        self.signals = {name: np.asarray(v, np.float32) for name, v in self.signals.items()}
        arrays: dict[str, Sized] = {
            "kinds": self.kinds,
            "turns": self.turns,
            "logprobs": self.logprobs,
            "texts": self.texts,
            **self.signals,
        }
        for name, array in arrays.items():
            if len(array) != len(self):
                raise ActFocusError(
                    f"trajectory {self.id}: {name} has {len(array)} values for {len(self)} tokens; they must be as many"
                )
        if len(self) and self.kinds.max() > max(TokenKind):
            raise ActFocusError(
                f"trajectory {self.id}: kind {self.kinds.max()} is not one of {[int(kind) for kind in TokenKind]}"
            )
        check_columns(self.columns, f"trajectory {self.id}")

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
