"""New rollouts, sampled and scored in a separate process."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.runs import free_path
from actfocus_studio.data import models
from actfocus_studio.jobs.worker import Status, Worker

ENVIRONMENTS = {
    "FrozenLake, slippery": ("frozen_lake", {"slippery": True}),
    "FrozenLake, deterministic": ("frozen_lake", {"slippery": False}),
    "Sokoban": ("sokoban", {}),
    "Sudoku": ("sudoku", {}),
    "WebShop": ("webshop", {}),
}
PROMPTS, ROLLOUTS, TEMPERATURE, SEED, EXAMPLES = (1, 64), (2, 16), (0.1, 2.0), (0, 2**31 - 1), (0, 2)


@dataclass(frozen=True)
class RolloutRequest:
    """What to roll out. Raises ActFocusError for an invalid value."""

    environment: str
    prompts: int
    rollouts: int
    seed: int
    temperature: float
    policy: str = "tiny"
    """One of ``models.installed``; checked when the rollouts are started."""
    examples: int = 0

    def __post_init__(self):
        if not isinstance(self.environment, str) or self.environment not in ENVIRONMENTS:
            raise ActFocusError(f"unknown environment; there are {', '.join(ENVIRONMENTS)}")
        for name, (low, high) in (
            ("prompts", PROMPTS),
            ("rollouts", ROLLOUTS),
            ("seed", SEED),
            ("temperature", TEMPERATURE),
            ("examples", EXAMPLES),
        ):
            value = getattr(self, name)
            whole = name != "temperature"
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not math.isfinite(value)
                or not low <= value <= high
                or (whole and value != int(value))
            ):
                raise ActFocusError(f"{name} must be a{' whole' if whole else ''} number from {low} to {high}")


class Rollouts(Worker):
    """At most one running job that samples rollouts."""

    def __init__(self, runs_dir: Path):
        super().__init__(
            "rollouts are already being sampled, possibly started from another page; wait for them or cancel them"
        )
        self.runs_dir = Path(runs_dir).resolve()

    def start(self, request: RolloutRequest) -> Status:
        """Start sampling. Raises ActFocusError while another job runs, and for a policy that cannot be run here."""
        policy = models.chosen(request.policy, self.runs_dir)
        env, options = ENVIRONMENTS[request.environment]
        options = {**options, "examples": int(request.examples)} if request.examples else options
        pairs = [text for key, value in options.items() for text in ("--option", f"{key}={json.dumps(value)}")]
        out = free_path(self.runs_dir, env.replace("_", "-"))
        return self.launch(
            [
                "rollout",
                "--env",
                env,
                "--policy",
                policy.name,
                *pairs,
                "--prompts",
                str(int(request.prompts)),
                "--rollouts",
                str(int(request.rollouts)),
                "--seed",
                str(int(request.seed)),
                "--temperature",
                str(float(request.temperature)),
                "--out",
                str(out),
                "--score",
            ],
            out,
        )
