"""What every credit scheme reads and gives: a flat batch of tokens in, ``Credit`` out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from actfocus_core.advantages import grpo_advantages
from actfocus_core.errors import ActFocusError
from actfocus_core.signals import SIGNALS, signal_values
from actfocus_core.trajectory import Trajectory, response_mask


@dataclass(frozen=True)
class Batch:
    """All tokens of a training batch, one trajectory after another: N tokens, n trajectories."""

    kinds: np.ndarray
    """uint8 [N]"""
    turns: np.ndarray
    """int16 [N]"""
    index: np.ndarray
    """int64 [N], which trajectory a token belongs to"""
    signals: dict[str, np.ndarray]
    """name -> float32 [N]: those of SIGNALS that are recorded for all action tokens"""
    returns: np.ndarray
    """float64 [n]"""
    groups: list[str]
    """n prompt names"""
    ids: list[str]
    """n trajectory ids"""

    @classmethod
    def of(cls, trajectories: list[Trajectory]) -> Batch:
        """Lay trajectories out. Raises ActFocusError where there are none."""
        if not trajectories:
            raise ActFocusError("no trajectories: a batch needs at least one")
        kinds = np.concatenate([t.kinds for t in trajectories])
        signals = {name: np.concatenate([signal_values(t, name) for t in trajectories]) for name in SIGNALS}
        scored = {name: v for name, v in signals.items() if np.isfinite(v[response_mask(kinds)]).all()}
        return cls(kinds, np.concatenate([t.turns for t in trajectories]),
                   np.repeat(np.arange(len(trajectories)), [len(t) for t in trajectories]), scored,
                   np.array([t.ret for t in trajectories]), [t.group for t in trajectories],
                   [t.id for t in trajectories])

    @property
    def response(self) -> np.ndarray:
        """bool [N], True where the policy sampled the token."""
        return response_mask(self.kinds)

    def grpo(self) -> np.ndarray:
        """float32 [N]: the trajectory's GRPO advantage on its response tokens, 0 elsewhere."""
        return np.where(self.response, grpo_advantages(self.returns, self.groups)[self.index], np.float32(0))


@dataclass(frozen=True)
class Credit:
    """What a scheme gives every token of a batch; all arrays float32 [N]."""

    advantage: np.ndarray
    weight: np.ndarray
    keep: np.ndarray
    """1 where the token enters the loss and its normaliser, 0 where it is left out"""
    clip_scale: np.ndarray
    """factor on the clip range"""
    normaliser: str = "minibatch"
    ratio_unit: str = "token"
    missing: tuple[str, ...] = ()
    """signals the scheme needs and the batch lacks: then weight is NaN on response tokens"""
    params: dict = field(default_factory=dict)

    def effective(self) -> np.ndarray:
        """float64 [N]: c_t = keep * weight * advantage / sum(keep * weight), the coefficient on
        grad log pi at ratio 1; one comparable number a token (design.md)."""
        mass = self.keep.astype(np.float64) * self.weight
        total = mass.sum()
        return mass * self.advantage / total if total != 0 else mass * 0


class Scheme(Protocol):
    """One way of giving credit. One file a scheme."""

    name: str
    title: str
    source: str
    """paper, and whether it was read in code, in the paper, or second hand"""
    defaults: dict

    def compute(self, batch: Batch, **params) -> Credit:
        """Credit for every token; raises ActFocusError for a parameter out of range."""
