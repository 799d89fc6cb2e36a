"""Named training settings: those of the paper per environment, and quick ones for the embedded policy on a CPU.

``paper`` is method.md section 6. Settings that affect only speed and memory are not in the paper; these are ours and depend on
the size of the model. ``quick`` is ours, tuned with the embedded policy on FrozenLake and on Sokoban, where it samples more
groups and drops those with the smallest standard deviation of returns, as the paper does. It is the same for every scheme. For
language models it is as short as possible.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actfocus_core.errors import ActFocusError
from actfocus_core.policy.loading import NAMES

PRESETS = ("quick", "paper")
SIZES = ("0.5B", "1.5B", "3B")
"""The paper's models, Qwen2.5-Instruct."""

SMALL_BYTES = 80_000_000
"""Size of the stored weights of 20 million parameters."""

_PAPER: dict[str, dict[str, Any]] = {
    "frozen_lake": {"env_options": {"max_turns": 5, "max_actions": 10, "response_tokens": 400}},
    "sokoban": {"env_options": {"max_turns": 5, "max_actions": 10, "response_tokens": 400}, "keep_fraction": 0.25},
    "sudoku": {"env_options": {"max_turns": 8, "max_actions": 16, "response_tokens": 400}, "keep_fraction": 0.25},
    "webshop": {
        "env_options": {"max_turns": 9, "max_actions": 9, "actions_per_turn": 1},
        "prompts": 16,
        "rollouts": 8,
        "steps": 100,
        "eval_prompts": 256,
        "eval_rollouts": 1,
    },
}
ROWS = {f"{env}-{size}": (env, f"Qwen/Qwen2.5-{size}-Instruct") for env in _PAPER for size in SIZES}
"""Presets for the rows of the paper's table: name -> (environment, model); other values are those of ``paper``."""
_COMMON = {
    "prompts": 8,
    "rollouts": 16,
    "steps": 200,
    "lr": 1e-6,
    "critic_lr": 1e-5,
    "minibatch": 32,
    "clip_low": 0.2,
    "clip_high": 0.28,
    "entropy_coef": 0.001,
    "gamma": 1.0,
    "lam": 1.0,
    "eval_every": 10,
    "eval_prompts": 32,
    "eval_rollouts": 16,
}
_QUICK = {
    "prompts": 8,
    "rollouts": 8,
    "steps": 60,
    "time_budget": 110.0,
    "lr": 3e-4,
    "critic_lr": 1e-3,
    "minibatch": 32,
    "entropy_coef": 0.0,
    "eval_every": 20,
    "eval_prompts": 32,
    "eval_rollouts": 4,
    "mass_every": 10,
    "micro_tokens": 1536,
}
_QUICK_OF = {"sokoban": {"prompts": 12, "keep_fraction": 0.5}}

_QUICK_LANGUAGE = {
    "prompts": 2,
    "rollouts": 4,
    "steps": 10,
    "time_budget": 1800.0,
    "lr": 1e-5,
    "critic_lr": 1e-4,
    "minibatch": 8,
    "eval_every": 10,
    "eval_prompts": 4,
    "eval_rollouts": 1,
    "eval_temperatures": (1.0,),
    "mass_every": 0,
}
"""Replaces values of ``quick`` for a language model on a CPU: few and short rollouts, which demonstrate that training runs
but are too few to learn from."""


def preset(name: str, env: str = "frozen_lake", algorithm: str = "grpo", model: str = "tiny") -> dict[str, Any]:
    """The values of a preset, for ``TrainConfig.of(**values)``; other fields keep their defaults.

    ``name``: ``quick``, ``paper``, or one of ROWS, which sets ``env`` and ``model``. In ``paper`` the size of ``model``
    determines the batch sizes. Raises ActFocusError for an unknown name, or an environment that is not in the paper.
    """
    if name in ROWS:
        name, (env, model) = "paper", ROWS[name]
    chosen = {"env": env, "algorithm": algorithm, "model": model}
    if name == "quick":
        short = {**_QUICK_LANGUAGE, "env_options": {"response_tokens": 80}} if is_language_model(model) else {}
        return {**chosen, **_QUICK, **(short or _QUICK_OF.get(env, {}))}
    if name != "paper":
        raise ActFocusError(f"unknown preset {name!r}; available: {', '.join((*PRESETS, *ROWS))}")
    if env not in _PAPER:
        raise ActFocusError(f"the paper has no setting for {env!r}; it has {', '.join(_PAPER)}")
    values = {**chosen, **_COMMON, **_PAPER[env]}
    if algorithm == "grpo" and env == "webshop":
        values |= {"kl_coef": 0.001, "kl_kind": "k1"}
    # "all (GRPO)" in the table of method.md is interpreted as: under PPO, the same filter as in the other games.
    if algorithm == "ppo" and env == "frozen_lake":
        values |= {"keep_fraction": 0.25}
    return {**values, **_of_size(model)}


def is_language_model(model: str) -> bool:
    """Whether a policy is larger than the embedded one and policies trained from it.

    True for SmolLM2, a hub id, and a folder with an adapter or more than 20 million parameters.
    """
    folder = Path(model)
    if model in NAMES or not folder.is_dir():
        return model != "tiny"
    return (
        not (folder / "config.json").is_file()
        or sum(file.stat().st_size for file in folder.glob("*.safetensors")) > SMALL_BYTES
    )


def _of_size(model: str) -> dict[str, Any]:
    """Batch sizes that fit a GPU with 80 GB according to ``sizing.memory``, from the size in the model's name.

    PPO with 3B also trains a critic of 3B and needs 141 GB.
    """
    for label, rollout_batch, micro_tokens in (("1.5B", 64, 16384), ("0.5B", 128, 16384), ("3B", 32, 4096)):
        if label in model:
            return {
                "micro_tokens": micro_tokens,
                "rollout_batch": rollout_batch,
                "gradient_checkpointing": label != "0.5B",
            }
    return {"micro_tokens": 16384}
