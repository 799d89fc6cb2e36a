"""Short training runs: their config, and the numbers that must repeat."""

import torch

from actfocus_core.runs import Run
from actfocus_core.train import TrainConfig

SMALL = {
    "prompts": 2,
    "rollouts": 3,
    "minibatch": 3,
    "eval_prompts": 2,
    "eval_rollouts": 2,
    "eval_every": 2,
    "lr": 3e-4,
    "critic_lr": 1e-3,
    "mass_every": 2,
    "scheme": "actfocus",
    "device": "cpu",
    "micro_tokens": 1000,
    "seed": 5,
}


def config(**changes) -> TrainConfig:
    return TrainConfig.of(**{**SMALL, **changes})


def results(path) -> list[dict]:
    """The rows of a run without what depends on the machine's speed."""
    return [
        {k: v for k, v in row.items() if not k.startswith("seconds/") and k != "tokens/per_second"}
        for row in Run.open(path).metrics()[0]
    ]


def threads() -> str:
    """As many as this process has: another number would round differently."""
    return str(torch.get_num_threads())
