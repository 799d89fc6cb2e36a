"""What TRL has to be, and how it has to be set, for the weighted loss to be the method's."""

from __future__ import annotations

from typing import Any

import trl
from trl import GRPOConfig, GRPOTrainer

from actfocus_core.errors import ActFocusError
from actfocus_core.plugins.signatures import check_methods, check_version, moved

TESTED = "1.16"
USED = {
    (GRPOTrainer, "_generate_and_score_completions"): ["self", "inputs"],
    (GRPOTrainer, "_calculate_rewards"): ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    (GRPOTrainer, "_compute_loss"): ["self", "model", "inputs"],
}
"""Private methods that are overridden or built on, with their arguments."""
GIVEN = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "num_items_in_batch")
"""What its generation batch must hold."""


def check_trl() -> None:
    """Raise ActFocusError where this TRL is not one the trainer was written against, or its insides have moved."""
    check_version(trl, TESTED)
    check_methods(trl, TESTED, USED)


def check_batch(batch: dict[str, Any]) -> None:
    """Raise ActFocusError where a generation batch is not what the weights are made for."""
    lacking = [name for name in GIVEN if name not in batch]
    if lacking or batch["advantages"].ndim != 1:
        raise moved(trl, TESTED, f"its generation batch has no {', '.join(lacking) or 'advantages of shape [B]'}")


def check_settings(params: dict[str, Any], args: GRPOConfig, env: str | None) -> None:
    """Raise ActFocusError for settings under which the loss would not be the method's."""
    if params["beta"] and not env and params["signal"] in ("nll", "shift", "policy_entropy"):
        raise ActFocusError(
            f"signal={params['signal']!r} needs log-probs of the rollout policy, which TRL's own rollouts "
            "do not hand over; use energy or entropy, or play an env"
        )
    if args.loss_type != "dapo":
        raise ActFocusError(
            f"loss_type={args.loss_type!r}: the weighted loss divides by the tokens of the whole batch, "
            "which in TRL is loss_type='dapo'"
        )
    if args.steps_per_generation % args.gradient_accumulation_steps:
        raise ActFocusError(
            f"steps_per_generation={args.steps_per_generation} is no multiple of gradient_accumulation_steps="
            f"{args.gradient_accumulation_steps}: an update would be of several batches, each with weights of its own"
        )
    neutral = {"top_p": (1.0,), "top_k": (0, None), "min_p": (None, 0.0), "repetition_penalty": (1.0,)}
    changed = [name for name, values in neutral.items() if getattr(args, name) not in values]
    if env and (changed or args.use_vllm):
        raise ActFocusError(
            f"{'use_vllm' if args.use_vllm else changed[0]}: an env is played by the transformers sampler, "
            "which knows the temperature alone"
        )
