"""Low-rank adapters (peft): only the adapters are trained, and they are merged into the final policy."""

from __future__ import annotations

import copy
from typing import Any

import torch

from actfocus_core.envs.base import stable_seed
from actfocus_core.extras import ignore_deprecations, require


def add_adapters(model: Any, rank: int, seed: int) -> Any:
    """Add adapters to a model in place, freeze all other parameters, and return the peft model that wraps it.

    The adapters start as the identity, so the model's outputs do not change. Their initial weights depend on the seed
    alone. Raises ActFocusError where peft is not installed. Source: arXiv 2106.09685.
    """
    peft = require("peft", "lora")
    with torch.random.fork_rng(devices=[]), ignore_deprecations():
        torch.manual_seed(stable_seed("lora", seed))
        return peft.get_peft_model(model, peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))


def merged(adapted: Any) -> Any:
    """A copy of the model with the adapters merged into the weights: an ordinary model."""
    return copy.deepcopy(adapted).merge_and_unload()
