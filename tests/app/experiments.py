"""A request for an experiment, and experiments that take seconds."""

import pytest

from actfocus_studio.jobs.experiments import Experiments

GOOD = {
    "environment": "FrozenLake, deterministic",
    "algorithm": "grpo",
    "schemes": ["uniform", "actfocus"],
    "seeds": 1,
    "time": "30 seconds",
}


@pytest.fixture
def short(monkeypatch):
    """Experiments of four steps and little evaluation: what is tested is the queue, not the learning."""
    monkeypatch.setattr("actfocus_studio.jobs.experiments.request.TIMES", {"30 seconds": 8})
    arguments = Experiments._arguments

    def smaller(self, race, run, out):
        return [
            *arguments(self, race, run, out),
            "--set",
            "prompts=2",
            "--set",
            "rollouts=4",
            "--set",
            "eval_prompts=2",
            "--set",
            "eval_rollouts=2",
            "--set",
            "eval_every=2",
            "--set",
            "mass_every=0",
            "--time-budget",
            "900",
        ]

    monkeypatch.setattr(Experiments, "_arguments", smaller)
