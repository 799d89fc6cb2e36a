"""The request that starts an experiment."""

from __future__ import annotations

import math
from dataclasses import dataclass

from actfocus_core.errors import ActFocusError
from actfocus_core.signals import SIGNALS
from actfocus_studio.jobs.rollouts import ENVIRONMENTS

TIMES = {"30 seconds": 30, "2 minutes": 120, "5 minutes": 300}
"""Label on the page -> seconds of training per run."""
ALGORITHMS = ("grpo", "ppo")
CHOICES = ("uniform", "actfocus", "role_only", "energy_only")
"""Schemes that a page may request."""
SEEDS_MAX = 5
"""Maximum number of seeds per scheme."""


@dataclass(frozen=True)
class ExperimentRequest:
    """A request from the page. Raises ActFocusError for an invalid value."""

    environment: str
    algorithm: str
    schemes: list[str]
    seeds: int
    time: str
    alpha: float = 0.1
    beta: float = 0.5
    signal: str = "energy"
    policy: str = "tiny"
    """One of ``models.installed``; checked when the experiment is started."""

    def __post_init__(self):
        for name, value, allowed in (
            ("environment", self.environment, ENVIRONMENTS),
            ("algorithm", self.algorithm, ALGORITHMS),
            ("time", self.time, TIMES),
            ("signal", self.signal, SIGNALS),
        ):
            if not isinstance(value, str) or value not in allowed:
                raise ActFocusError(f"{name}: must be one of {', '.join(allowed)}")
        if not isinstance(self.policy, str):
            raise ActFocusError("policy: must be a name")
        if (
            not isinstance(self.schemes, list)
            or not self.schemes
            or any(s not in CHOICES for s in self.schemes)
            or len(set(self.schemes)) != len(self.schemes)
        ):
            raise ActFocusError(f"schemes: choose one or more of {', '.join(CHOICES)}, each once")
        if isinstance(self.seeds, bool) or not isinstance(self.seeds, int) or not 1 <= self.seeds <= SEEDS_MAX:
            raise ActFocusError(f"seeds: must be a whole number from 1 to {SEEDS_MAX}")
        for name, value, high in (("alpha", self.alpha, 1), ("beta", self.beta, 2)):
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not math.isfinite(value)
                or not 0 <= value <= high
            ):
                raise ActFocusError(f"{name}: must be a number from 0 to {high}")

    @property
    def limit(self) -> int:
        """Requested seconds per run."""
        return TIMES[self.time]
