"""The prompts of an ActFocus environment, for another trainer's dataset."""

from __future__ import annotations

from collections.abc import Iterator

from actfocus_core.envs import Env
from actfocus_core.rollout import TRAINING_SEED


def initial_messages(env: Env, count: int) -> Iterator[tuple[int, list[dict[str, str]]]]:
    """Yield the first ``count`` training seeds, each with the initial chat messages of its episode."""
    system = {"role": "system", "content": env.system_prompt()}
    for seed in range(TRAINING_SEED, TRAINING_SEED + count):
        yield seed, [system, {"role": "user", "content": env.clone().reset(seed)}]
