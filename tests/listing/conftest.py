"""Runs for the tests of the list: every value is known, some are unknown on purpose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actfocus_core.listing import Cache, Listing
from actfocus_core.runs import Run, RunWriter
from actfocus_core.trajectory import Trajectory, Turn
from tests.core.batches import trajectories

TEXTS = [
    "You see",
    " a hole",
    ".",
    "<think>",
    "hol",
    "e!",
    "</think>",
    "<answer>",
    "Up",
    "</answer>",
    "é\U0001f642",
    "Up hole",
]
KINDS = [0, 1, 2, 5, 3, 3, 5, 5, 4, 5, 1, 4]


def rollout(id: str, **fields) -> Trajectory:
    """A rollout of two turns with the tokens of TEXTS, of which the second is valid."""
    count = len(TEXTS)
    plain = dict(
        token_ids=np.arange(count),
        kinds=KINDS,
        turns=[-1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
        logprobs=np.where(np.array(KINDS) >= 3, -0.5, np.nan),
        texts=list(TEXTS),
        turn_records=[Turn("see", "Up", ["Up"], True, 0, 0, "", {}), Turn("see", "Up", ["Up"], True, 0, 0, "", {})],
    )
    return Trajectory(id, **(plain | fields))


def write(path: Path, rollouts: list[Trajectory], reference: str = "tiny") -> Run:
    run = Run.create(path, {"command": "test", "env": "lake"})
    with RunWriter(run, reference) as writer:
        for t in rollouts:
            writer.add(t)
    return Run.open(path)


def scored(steps: int = 2, **more) -> list[Trajectory]:
    """Rollouts of several steps with every signal; two of the groups of a step have the same name in the next."""
    made = []
    for step in range(steps):
        for t in trajectories(step, **more):
            made.append(replace(t, id=f"{step}-{t.id}", step=step, texts=[f"{t.id}.{i} " for i in range(len(t))]))
    return made


@pytest.fixture
def cache(tmp_path) -> Cache:
    return Cache(tmp_path / "cache/listing/run")


@pytest.fixture
def run(tmp_path) -> Run:
    """Two steps of twelve rollouts, scored by ``tiny``."""
    return write(tmp_path / "run", scored())


@pytest.fixture
def listing(run, cache) -> Listing:
    return Listing(run, cache=cache)


def values(listing: Listing, name: str, ids: bool = False):
    """A column of all rollouts, computed first; ``ids``: by id."""
    listing.compute()
    column = listing.page(limit=1000, columns=[name]).rows[name].to_pylist()
    return dict(zip(listing.ids(), column)) if ids else column
