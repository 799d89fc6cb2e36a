"""The prompts of one of our environments, as rows of another trainer's data."""

from __future__ import annotations

from collections.abc import Iterator

from actfocus_core.envs import Env
from actfocus_core.rollout import TRAINING_SEED


def openings(env: Env, count: int) -> Iterator[tuple[int, list[dict[str, str]]]]:
    """The first ``count`` training seeds, each with the messages of a chat that its episode begins with."""
    system = {"role": "system", "content": env.system_prompt()}
    for seed in range(TRAINING_SEED, TRAINING_SEED + count):
        yield seed, [system, {"role": "user", "content": env.clone().reset(seed)}]
