"""Low-rank adapters through peft: few parameters are trained, the finished policy is whole again."""

from __future__ import annotations

import copy
from typing import Any

import torch

from actfocus_core.envs.base import stable_seed
from actfocus_core.extras import demand, outdated_calls


def add_adapters(model: Any, rank: int, seed: int) -> Any:
    """Put adapters into a model, in place, and freeze everything else; the peft model that holds it.

    They start as nothing: the model's outputs do not change. Their first weights are functions of
    the seed. Raises ActFocusError where peft is not installed. Source: arXiv 2106.09685.
    """
    peft = demand("peft", "lora")
    with torch.random.fork_rng(devices=[]), outdated_calls():
        torch.manual_seed(stable_seed("lora", seed))
        return peft.get_peft_model(model, peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))


def merged(adapted: Any) -> Any:
    """A copy of the model with its adapters added into the weights: an ordinary model."""
    return copy.deepcopy(adapted).merge_and_unload()
