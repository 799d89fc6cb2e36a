"""The training algorithms by name, for training, replays and rebuilt steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from actfocus_core.train.grpo import prepare_grpo, train_grpo, update_grpo
from actfocus_core.train.learner import Learner, Prepared
from actfocus_core.train.ppo import prepare_ppo, train_ppo, update_ppo
from actfocus_core.train.session import Session
from actfocus_core.trajectory import Trajectory


@dataclass(frozen=True)
class Algorithm:
    """One training algorithm in its three parts; ``loop`` is composed of the other two."""

    prepare: Callable[[Learner, list[Trajectory]], Prepared]
    """(learner, selected trajectories) -> everything the update reads of them"""
    update: Callable[..., list[dict[str, float]]]
    """(learner, prepared, step, policy_step=...) -> the metrics of every optimiser step"""
    loop: Callable[[Session], None]
    """trains until the session ends"""


ALGORITHMS = {
    "grpo": Algorithm(prepare_grpo, update_grpo, train_grpo),
    "ppo": Algorithm(prepare_ppo, update_ppo, train_ppo),
}
