"""Memory and time of a GRPO step on many GPUs, by arithmetic: the table of docs/scale.md.

Everything that grows with the parameters is sharded over the GPUs (FSDP, ZeRO-3); the rollout engine sleeps meanwhile. Ours: the
paper gives neither. Attention's own products are not counted in the time; at 3,600 tokens they are a few per cent.
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
"""Bytes of one GPU's memory."""
PEAK, USED = 989e12, 0.4
"""Dense bfloat16 of an H100 in FLOP/s, and the share of it that a good trainer reaches: an assumption."""
MICRO = 8192
"""Tokens of a micro-batch."""
TOKENS = 128 * 3600
"""Of a step: 128 trajectories of the longest dialogue (method.md section 6)."""
LOGIT = 14
"""Bytes a logit of the update: float32 logits, exponentials and gradient, and the bfloat16 output."""


@dataclass(frozen=True)
class Plan:
    """One GRPO step of all parameters. Bytes and seconds."""

    parameters: int
    states: int
    """weights, gradients and two moments of Adam, all float32"""
    reference: int
    """bfloat16, like the copy of the weights the arithmetic uses"""
    local: int
    """on every GPU: activations of a micro-batch with checkpointing, and one chunk of logits"""
    gpus: int
    """the smallest power of two that holds it"""
    cache: int
    """keys and values a token, bfloat16"""
    energy_pass: float
    """the reference's forward pass over the step on these GPUs"""
    update: float
    """forward, recomputation and backward over the same tokens"""


def plan(shape: Shape, gpu: float = GPU) -> Plan:
    """What a model of this shape needs on GPUs of ``gpu`` bytes each."""
    p = shape.parameters
    local = (
        MICRO * shape.activations(bf16=True, checkpointing=True)
        + ((1 << 27) // shape.vocabulary) * shape.vocabulary * LOGIT
    )
    gpus = 1
    # One block's weights are gathered in bfloat16, and the next one's while it computes.
    while SPARE * (20 * p / gpus + local + 2 * 2 * shape.block) > gpu:
        gpus *= 2
    forward = 2 * p * TOKENS / (gpus * USED * PEAK)
    return Plan(p, 16 * p, 2 * p, local, gpus, 2 * 2 * shape.layers * shape.kv_heads * shape.head, forward, 4 * forward)
