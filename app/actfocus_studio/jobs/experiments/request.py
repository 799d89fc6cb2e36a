"""What a page may ask for when it starts an experiment."""

from __future__ import annotations

import math
from dataclasses import dataclass

from actfocus_core.errors import ActFocusError
from actfocus_core.signals import SIGNALS
from actfocus_studio.jobs.rollouts import ENVIRONMENTS

TIMES = {"30 seconds": 30, "2 minutes": 120, "5 minutes": 300}
"""Seconds of training for one run, by the name that a page gives them."""
ALGORITHMS = ("grpo", "ppo")
CHOICES = ("uniform", "actfocus", "role_only", "energy_only")
"""Schemes a page may ask for."""
SEEDS_MAX = 5
"""Seeds that each scheme of an experiment is trained with, at most."""


@dataclass(frozen=True)
class ExperimentRequest:
    """What a page may ask for; every value is checked where it is made."""

    environment: str
    algorithm: str
    schemes: list[str]
    seeds: int
    time: str
    alpha: float = 0.1
    beta: float = 0.5
    signal: str = "energy"
    policy: str = "tiny"
    """One of ``models.installed``; which of them are there is checked where an experiment is started."""

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
        """Seconds that each run should take."""
        return TIMES[self.time]
