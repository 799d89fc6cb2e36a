"""Computed memory and time of a GRPO step on several GPUs: the table of docs/scale.md.

All states proportional to the number of parameters are sharded over the GPUs (FSDP, ZeRO-3); the rollout engine sleeps during
the update. The time does not include the attention products, a few per cent at 3,600 tokens. Ours: the paper states neither.
"""

from __future__ import annotations

from dataclasses import dataclass

from actfocus_core.train.sizing.memory import QWEN, SPARE, Shape

SIZES = {
    **QWEN,
    "7B": Shape(28, 3584, 28, 4, 128, 18944, 152064, False, True),
    "14B": Shape(48, 5120, 40, 8, 128, 13824, 152064, False, True),
    "32B": Shape(64, 5120, 40, 8, 128, 27648, 152064, False, True),
    "72B": Shape(80, 8192, 64, 8, 128, 29568, 152064, False, True),
}
"""Qwen2.5-Instruct."""
GPU = 80e9
"""Memory of one GPU in bytes."""
PEAK, USED = 989e12, 0.4
"""Dense bfloat16 peak of an H100 in FLOP/s, and the utilisation assumed for an efficient trainer."""
MICRO = 8192
"""Tokens per micro-batch."""
TOKENS = 128 * 3600
"""Tokens per step: 128 trajectories of maximum length (method.md section 6)."""
LOGIT = 14
"""Bytes per logit in the update: float32 logits, exponentials and gradient, and the bfloat16 output."""


@dataclass(frozen=True)
class Plan:
    """Requirements of a GRPO step on all parameters, in bytes and seconds."""

    parameters: int
    states: int
    """weights, gradients and two Adam moments, all float32"""
    reference: int
    """reference weights in bfloat16, as large as the bfloat16 copy of the trained weights"""
    local: int
    """per GPU: activations of a micro-batch with checkpointing, and one chunk of logits"""
    gpus: int
    """smallest sufficient power of two"""
    cache: int
    """keys and values per token, bfloat16"""
    energy_pass: float
    """forward pass of the reference over the tokens of the step on these GPUs"""
    update: float
    """forward pass, recomputation and backward pass over the same tokens"""


def plan(shape: Shape, gpu: float = GPU) -> Plan:
    """The requirements of a model on GPUs with ``gpu`` bytes of memory each."""
    p = shape.parameters
    local = (
        MICRO * shape.activations(bf16=True, checkpointing=True)
        + ((1 << 27) // shape.vocabulary) * shape.vocabulary * LOGIT
    )
    gpus = 1
    # The weights of the current block and of the next one are gathered in bfloat16.
    while SPARE * (20 * p / gpus + local + 2 * 2 * shape.block) > gpu:
        gpus *= 2
    forward = 2 * p * TOKENS / (gpus * USED * PEAK)
    return Plan(p, 16 * p, 2 * p, local, gpus, 2 * 2 * shape.layers * shape.kv_heads * shape.head, forward, 4 * forward)
