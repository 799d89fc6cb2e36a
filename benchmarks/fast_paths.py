"""Time saved by the fast passes for small models on a CPU: python benchmarks/fast_paths.py

Sampling, scoring and the policy gradient of one training step of the quick preset, with the embedded policy: by the passes
of ``actfocus_core/policy/tiny_cpu``, and by the model's own forward pass, alternately on the same rollouts. Times are CPU
seconds of this process with one thread. Prints for each part of the step the median seconds of both, the median and range
over pairs of their ratio (own over fast), and the fraction of the whole step that is saved.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import torch

from actfocus_core.policy import load_policy, sampler, split_model
from actfocus_core.policy.sampler import CachedSampler
from actfocus_core.rollout import collect
from actfocus_core.signals import score
from actfocus_core.train import TrainConfig, preset
from actfocus_core.train.learner import Learner
from actfocus_core.train.update import policy_gradient


@contextmanager
def own_forward_pass() -> Iterator[None]:
    """Within the block, models are set up without fast passes."""
    with (
        mock.patch.object(split_model, "fast_model", lambda model: None),
        mock.patch.object(sampler, "fast_model", lambda model: None),
    ):
        yield


def parts_of_a_step(config: TrainConfig) -> dict[str, Callable[[], object]]:
    """Name -> a part of one training step, on rollouts that are collected here."""
    policy = load_policy(config.model, device="cpu")

    def play() -> list:
        return collect(
            policy,
            config.env,
            prompts=config.prompts,
            rollouts=config.rollouts,
            sampler=CachedSampler(policy),
            env_options=config.env_options,
        )

    rollouts = score(play(), policy)

    def update() -> None:
        learner = Learner(config, policy)
        prepared = learner.prepare(rollouts)
        for rows, normaliser in learner.minibatches(prepared, step=1, epoch=0):
            policy_gradient(learner.model, prepared.training_batch, rows, normaliser, config)
        policy.model.zero_grad(set_to_none=True)

    return {
        "sampling": play,
        "scoring": lambda: score(rollouts, policy, tokens_per_batch=config.micro_tokens),
        "update": update,
    }


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(config: TrainConfig, pairs: int) -> dict[str, dict]:
    """Summary of every part with both passes, their order alternating between pairs."""
    parts = parts_of_a_step(config)
    seconds: dict[str, dict[str, list[float]]] = {name: {"fast": [], "own": []} for name in parts}
    for pair in range(pairs + 1):
        for name, work in parts.items():
            for path in ("fast", "own") if pair % 2 else ("own", "fast"):
                if path == "fast":
                    elapsed = cpu_seconds(work)
                else:
                    with own_forward_pass():
                        elapsed = cpu_seconds(work)
                if pair:  # The first pair is a warm-up.
                    seconds[name][path].append(elapsed)
    return {name: summary(both["fast"], both["own"]) for name, both in seconds.items()}


def summary(fast: list[float], own: list[float]) -> dict:
    ratios = [b / a for a, b in zip(fast, own)]
    return {
        "fast_seconds": round(statistics.median(fast), 3),
        "own_seconds": round(statistics.median(own), 3),
        "own_over_fast": round(statistics.median(ratios), 2),
        "range": [round(min(ratios), 2), round(max(ratios), 2)],
        "saved": round(1 - 1 / statistics.median(ratios), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="frozen_lake")
    parser.add_argument("--pairs", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = TrainConfig.of(**{**preset("quick", options.env), "scheme": "actfocus"})
    parts = measure(config, options.pairs)
    fast, own = (sum(part[f"{path}_seconds"] for part in parts.values()) for path in ("fast", "own"))
    print(json.dumps({"env": options.env, **parts, "saved_of_a_step": round(1 - fast / own, 2)}, indent=2))


if __name__ == "__main__":
    main()
