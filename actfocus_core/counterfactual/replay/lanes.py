"""Work side by side: a job a core, each in the arithmetic it would have alone."""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from actfocus_core.policy import Policy
from actfocus_core.train.batch import TrainingBatch
from actfocus_core.train.learner import Learner, Tensors
from actfocus_core.train.openings import SharedOpenings
from actfocus_core.train.update import autocast, forward, per_token
from actfocus_core.trajectory import Trajectory

T = TypeVar("T")
COPIED_PARAMETERS = 20_000_000
"""A policy of at most so many is copied, so that the schemes' updates can be taken side by side."""


def lanes_of(learner: Learner) -> int:
    """How many updates or passes are worked on at a time: one a core, for a small policy on a CPU.

    The matrices of a small model keep a few cores busy badly, and more threads round differently than the
    training did, so a core each is quicker and exact.
    """
    small = sum(p.numel() for p in learner.policy.model.parameters()) <= COPIED_PARAMETERS
    if learner.policy.device.type != "cpu" or learner.adapted is not None or not small:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // torch.get_num_threads())


def twin(learner: Learner, start: dict[str, Tensors]) -> Learner:
    """Another learner that stands at ``start``, with weights and optimiser of its own."""
    own = learner.policy
    made = Learner(learner.config, Policy(own.name, copy.deepcopy(own.model), own.tokenizer, own.env_options))
    made.take_up(start)
    return made


def at_once(jobs: list[Callable[[], T]], lanes: int) -> Iterator[T]:
    """What each job returns, in their order; they begin in their order, ``lanes`` of them at a time."""
    if lanes <= 1 or len(jobs) == 1:
        yield from (job() for job in jobs)
        return
    with ThreadPoolExecutor(lanes) as pool:
        futures = [pool.submit(job) for job in jobs]
        yield from (future.result() for future in futures)


def logprobs(learner: Learner, kept: list[Trajectory], lanes: int) -> list[np.ndarray]:
    """float32 [T] a trajectory: log-probs under the policy as it is, in the arithmetic of the update."""
    groups = [list(own) for _, own in itertools.groupby(kept, key=lambda t: t.group)]
    ends = np.linspace(0, len(groups), min(max(lanes, 1), len(groups)) + 1).round().astype(int)
    parts = [sum(groups[a:b], []) for a, b in itertools.pairwise(ends)]
    with learner.phase("logprobs"):
        return sum(at_once([partial(_logprobs_of, learner, part) for part in parts], lanes), [])


@torch.no_grad()
def _logprobs_of(learner: Learner, kept: list[Trajectory]) -> list[np.ndarray]:
    device, batch, rows = learner.policy.device, TrainingBatch(kept, {}), np.arange(len(kept))
    openings = None
    if SharedOpenings.worth_it(learner.model, batch, rows):
        with autocast(device, learner.config.precision):
            openings = SharedOpenings(learner.model, batch, rows, learner.config.micro_tokens, device)
    return per_token(
        kept,
        lambda micro: forward(learner.model, micro, openings=openings)[0],
        learner.config.micro_tokens,
        device,
        learner.config.precision,
        read=openings.read if openings else None,
        shared=learner.model.shares_prefixes,
    )
