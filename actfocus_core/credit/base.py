"""The interface of a credit scheme: from a flat batch of tokens (batch.py) to a ``Credit``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from actfocus_core.credit.batch import Batch
from actfocus_core.errors import ActFocusError


@dataclass(frozen=True)
class Credit:
    """The credit of every token of a batch; all arrays are float32 [N].

    ``weight`` enters the normaliser of the loss, ``advantage`` does not.
    """

    advantage: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]
    keep: npt.NDArray[np.float32]
    """1 for tokens in the loss and its normaliser, 0 for tokens that are left out"""
    clip_scale: npt.NDArray[np.float32]
    """scale of the clip range"""
    normaliser: Literal["minibatch", "trajectory", "batch"] = "minibatch"
    ratio_unit: str = "token"
    missing: tuple[str, ...] = ()
    """inputs the scheme needs and the batch lacks; if any, ``weight`` is NaN on response tokens"""
    params: dict[str, Any] = field(default_factory=dict)
    divisor: float | None = None
    """Z if it is a constant; None: Z is the sum of keep * weight"""

    @property
    def signed(self) -> np.ndarray:
        """float64 [N]: keep * weight * advantage."""
        return self.keep.astype(np.float64) * self.weight * self.advantage

    def effective(self) -> np.ndarray:
        """Effective credit, float64 [N]: c_t = keep * weight * advantage / Z, with Z = sum(keep * weight).

        It is the coefficient of grad log pi at ratio 1, comparable between schemes (design.md).
        """
        total = (self.keep.astype(np.float64) * self.weight).sum() if self.divisor is None else self.divisor
        return self.signed / total if total != 0 else self.signed * 0


@dataclass(frozen=True)
class Parameter:
    """A parameter of a scheme: its default value, and either bounds or choices."""

    default: float | str | None
    low: float = -np.inf
    high: float = np.inf
    choices: tuple[str, ...] = ()
    text: str = ""

    def check(self, name: str, value: object) -> None:
        """Raise ActFocusError for a value out of range."""
        if self.choices:
            if value not in self.choices:
                raise ActFocusError(f"unknown {name} {value!r}; available: {', '.join(self.choices)}")
        elif value is None and self.default is None:
            return
        elif isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise ActFocusError(f"{name}={value!r}: must be a finite number")
        elif not self.low <= value <= self.high:
            bounds = f"be {self.low:g} or above" if self.high == np.inf else f"lie in [{self.low:g}, {self.high:g}]"
            raise ActFocusError(f"{name}={value}: must {bounds}")


Cost = Literal["C0", "C1", "C2", "C3"]


class Scheme(ABC):
    """Base class of the credit schemes, of which each has a file."""

    name: str
    title: str
    description: str
    """one sentence for tables and reports"""
    source: str
    """paper or code"""
    read: Literal["code", "paper", "second hand", "ours"]
    """the source this implementation was written from"""
    cost: Cost = "C0"
    """cost in addition to the rollout: C0 arithmetic only, C1 an additional forward pass, C2 an additional trained network,
    C3 additional rollouts from restored states"""
    unit: Literal["token", "turn", "trajectory"]
    """granularity: the smallest unit to which the scheme assigns different credit"""
    evidence: Literal["restored state", "observational", "model-relative", "proxy"]
    """the evidence behind the credit, as ranked by the survey arXiv 2604.09459: interventions from restored states, observed
    returns, counterfactuals under a model, or a proxy such as uncertainty"""
    needs: tuple[str, ...] = ()
    """keys of HOW_TO_GET"""
    parameters: dict[str, Parameter] = {}

    @property
    def defaults(self) -> dict[str, Any]:
        """Parameter name -> default value."""
        return {name: p.default for name, p in self.parameters.items()}

    def compute(self, batch: Batch, **params: Any) -> Credit:
        """The credit of every token; ``Credit.missing`` names the inputs that the batch lacks.

        Raises ActFocusError for an unknown parameter, or one out of range.
        """
        p = self.checked(params)
        missing = tuple(name for name in self.required(p) if not batch.has(name))
        if missing:
            unknown = np.where(batch.response, np.float32(np.nan), np.float32(0))
            return tokens_credit(batch, batch.grpo(), p, weight=unknown, missing=missing)
        return self.credit(batch, p)

    def checked(self, params: dict[str, Any]) -> dict[str, Any]:
        """The given parameters, completed with defaults. Raises ActFocusError for an unknown parameter, or one out of range."""
        unknown = set(params) - set(self.parameters)
        if unknown:
            raise ActFocusError(
                f"{self.name}: unknown parameter {min(unknown)!r}; available: {', '.join(self.parameters) or 'none'}"
            )
        p = {**self.defaults, **params}
        for name, value in p.items():
            self.parameters[name].check(name, value)
        return p

    def required(self, p: dict[str, Any]) -> tuple[str, ...]:
        """The inputs needed under these parameters: keys of HOW_TO_GET."""
        return self.needs

    @abstractmethod
    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        """The scheme itself, called with complete parameters and a batch that has all required inputs."""


def tokens_credit(
    batch: Batch,
    advantage: np.ndarray,
    p: dict[str, Any],
    weight: np.ndarray | None = None,
    keep: np.ndarray | None = None,
    **more: Any,
) -> Credit:
    """Credit from per-token advantages [N]; ``weight`` and ``keep`` default to 1 on response tokens."""
    ones = batch.response.astype(np.float32)
    parts: dict[str, Any] = {
        "weight": ones if weight is None else weight,
        "keep": ones if keep is None else keep,
        "clip_scale": np.ones_like(ones),
        **more,
    }
    fields: dict[str, Any] = {k: v.astype(np.float32) if isinstance(v, np.ndarray) else v for k, v in parts.items()}
    return Credit(
        np.where(batch.response, advantage, 0).astype(np.float32),
        **fields,
        params=p,
    )
