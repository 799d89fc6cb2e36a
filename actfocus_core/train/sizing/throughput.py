"""Measurement of the training speed on a CPU, which takes a few seconds before training starts."""

from __future__ import annotations

import time

import numpy as np
import torch

from actfocus_core.envs import make_env
from actfocus_core.policy import Policy
from actfocus_core.policy.sampler import CachedSampler
from actfocus_core.policy.split_model import SplitModel
from actfocus_core.train.config import TrainConfig

STREAMS, WRITTEN, READ = 8, 8, 128
"""Size of the measurement: parallel replies, tokens per reply, and tokens of prompt and update."""
SLOW = 20_000_000
"""Number of parameters from which training on a CPU deserves a warning."""


def measure_throughput(policy: Policy, config: TrainConfig) -> tuple[float, float, float]:
    """(tokens sampled per second, tokens trained on per second, upper bound of the seconds per step).

    The bound assumes that every rollout has all turns and every reply its full length. The policy is not changed.
    """
    sampler = CachedSampler(policy)
    sampler.stop = sampler.stop[:0]
    sampler.begin(STREAMS)
    ids = (np.arange(READ) % 100).tolist()
    sampler.reply([ids] * STREAMS, 1, np.full((STREAMS, 1), 0.5))
    began = time.perf_counter()
    sampler.reply([ids[:1]] * STREAMS, WRITTEN, np.full((STREAMS, WRITTEN), 0.5))
    sampled = STREAMS * WRITTEN / (time.perf_counter() - began)
    trained = READ / _update(policy)
    options = make_env(config.env, **{**policy.env_options.get(config.env, {}), **config.env_options}).options
    tokens = config.prompts * config.rollouts * options.max_turns * options.response_tokens
    # The forward pass of the reference takes a third of the time of an update, which also has a backward pass.
    return sampled, trained, tokens * (1 / sampled + (4 / 3) / trained)


def _update(policy: Policy) -> float:
    """Seconds of one forward and backward pass over READ tokens."""
    parameters = list(policy.model.parameters())
    before = [p.requires_grad for p in parameters]
    policy.model.requires_grad_(True)
    model = SplitModel(policy.model)
    began = time.perf_counter()
    loss = model.logits(model.hidden(torch.arange(READ)[None] % 100)[0]).logsumexp(-1).sum()
    torch.autograd.grad(loss, parameters, allow_unused=True)
    seconds = time.perf_counter() - began
    for p, needed in zip(parameters, before):
        p.requires_grad_(needed)
    return seconds


def slow_model_warning(config: TrainConfig) -> str:
    """A one-line warning for a model that is slow on this CPU; empty if there is a GPU or the model is small."""
    from actfocus_core.policy import load_policy
    from actfocus_core.policy.loading import load_config, resolve_device
    from actfocus_core.train.sizing.memory import Shape

    loaded = load_config(config.model).get_text_config()
    if (
        resolve_device(config.device) != "cpu"
        or not hasattr(loaded, "intermediate_size")
        or Shape.of(loaded).parameters < SLOW
    ):
        return ""
    sampled, trained, seconds = measure_throughput(load_policy(config.model, "cpu", "float32"), config)
    count = config.prompts * config.rollouts
    return (
        f"{config.model} is slow on this CPU: it samples about {sampled:.0f} tokens per second and trains on {trained:.0f}; a step "
        f"of {count} rollouts takes up to {seconds / 60:.0f} minutes. For fewer rollouts: --set prompts=1 --set rollouts=4; for "
        f"shorter ones: -o response_tokens=60"
    )
