"""Checks of TRL's version, internals and settings, under which the weighted loss is that of the method."""

from __future__ import annotations

from typing import Any

import trl
from trl import GRPOConfig, GRPOTrainer

from actfocus_core.errors import ActFocusError
from actfocus_core.plugins.signatures import check_methods, check_version, incompatible

TESTED = "1.16"
USED = {
    (GRPOTrainer, "_generate_and_score_completions"): ["self", "inputs"],
    (GRPOTrainer, "_calculate_rewards"): ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    (GRPOTrainer, "_compute_loss"): ["self", "model", "inputs"],
}
"""Private methods that are overridden or called, with their arguments."""
REQUIRED_FIELDS = (
    "prompt_ids",
    "prompt_mask",
    "completion_ids",
    "completion_mask",
    "advantages",
    "num_items_in_batch",
)
"""Required fields of TRL's generation batch."""


def check_trl() -> None:
    """Raise ActFocusError if TRL's version or private methods differ from those the trainer was written against."""
    check_version(trl, TESTED)
    check_methods(trl, TESTED, USED)


def check_batch(batch: dict[str, Any]) -> None:
    """Raise ActFocusError if a generation batch lacks a required field, or its advantages are not of shape [B]."""
    missing = [name for name in REQUIRED_FIELDS if name not in batch]
    if missing or batch["advantages"].ndim != 1:
        raise incompatible(
            trl, TESTED, f"its generation batch has no {', '.join(missing) or 'advantages of shape [B]'}"
        )


def check_settings(params: dict[str, Any], args: GRPOConfig, env: str | None) -> None:
    """Raise ActFocusError for settings under which the loss would not be that of the method."""
    if params["beta"] and not env and params["signal"] in ("nll", "shift", "policy_entropy"):
        raise ActFocusError(
            f"signal={params['signal']!r} needs log-probs of the rollout policy, which TRL's own rollouts "
            "do not provide; use energy or entropy, or pass env"
        )
    if args.loss_type != "dapo":
        raise ActFocusError(
            f"loss_type={args.loss_type!r}: the weighted loss divides by the tokens of the whole batch; "
            "use loss_type='dapo'"
        )
    if args.steps_per_generation % args.gradient_accumulation_steps:
        raise ActFocusError(
            f"steps_per_generation={args.steps_per_generation} is not a multiple of gradient_accumulation_steps="
            f"{args.gradient_accumulation_steps}; an update would combine several batches with separate weights"
        )
    neutral = {"top_p": (1.0,), "top_k": (0, None), "min_p": (None, 0.0), "repetition_penalty": (1.0,)}
    changed = [name for name, values in neutral.items() if getattr(args, name) not in values]
    if env and (changed or args.use_vllm):
        raise ActFocusError(
            f"{'use_vllm' if args.use_vllm else changed[0]}: an env is played with the transformers sampler, "
            "which supports only the temperature; leave it at its default"
        )
