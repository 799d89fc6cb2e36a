"""Parallel work in a replay: one job per core, each with the arithmetic it would have alone."""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from actfocus_core.policy import Policy
from actfocus_core.train.learner import Learner, StateDict
from actfocus_core.train.update import forward, per_token
from actfocus_core.trajectory import Trajectory

Item = TypeVar("Item")
Result = TypeVar("Result")
COPIED_PARAMETERS = 20_000_000
"""Largest policy, in parameters, that is copied so that the updates of several schemes can run in parallel."""


def worker_count(learner: Learner) -> int:
    """The number of updates or forward passes to run in parallel: one per core for a small policy on a CPU, else 1.

    The matrices of a small model do not use several cores efficiently, and another number of threads rounds differently than
    the training did. One worker per core is faster and exact.
    """
    small = sum(p.numel() for p in learner.policy.model.parameters()) <= COPIED_PARAMETERS
    if learner.policy.device.type != "cpu" or learner.adapted is not None or not small:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // torch.get_num_threads())


def clone_learner(learner: Learner, state: StateDict) -> Learner:
    """A second learner with weights and optimisers of its own, in the given state."""
    policy = learner.policy
    copied = Policy(policy.name, copy.deepcopy(policy.model), policy.tokenizer, policy.env_options)
    clone = Learner(learner.config, copied)
    clone.load_state_dict(state)
    return clone


def run_parallel(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """The results of ``function`` in the order of the items, which are started in this order, ``workers`` at a time."""
    if workers <= 1 or len(items) == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(function, items)


def policy_logprobs(learner: Learner, trajectories: list[Trajectory], workers: int) -> list[np.ndarray]:
    """Log-probs under the current policy, float32 [T] per trajectory, in the arithmetic of the update.

    Whole groups are distributed over the workers, since their rollouts share a prefix.
    """
    groups = [list(members) for _, members in itertools.groupby(trajectories, key=lambda t: t.group)]
    ends = np.linspace(0, len(groups), min(max(workers, 1), len(groups)) + 1).round().astype(int)
    parts = [sum(groups[a:b], []) for a, b in itertools.pairwise(ends)]
    with learner.phase("logprobs"):
        return sum(run_parallel(partial(_logprobs, learner), parts, workers), [])


@torch.no_grad()
def _logprobs(learner: Learner, trajectories: list[Trajectory]) -> list[np.ndarray]:
    return per_token(
        trajectories,
        lambda micro: forward(learner.model, micro)[0],
        learner.config.micro_tokens,
        learner.policy.device,
        learner.config.precision,
        by_prefix=learner.model.shares_prefixes,
    )
