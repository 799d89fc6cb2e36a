"""The tables of docs/scale.md: memory and throughput of a GRPO step from 0.5B to 72B, by arithmetic."""

from __future__ import annotations

from actfocus_core.train.memory import GB, QWEN, SPARE, Shape

SHAPES = {**QWEN, "7B": Shape(28, 3584, 28, 4, 128, 18944, 152064, False, True),
          "14B": Shape(48, 5120, 40, 8, 128, 13824, 152064, False, True),
          "32B": Shape(64, 5120, 40, 8, 128, 27648, 152064, False, True),
          "72B": Shape(80, 8192, 64, 8, 128, 29568, 152064, False, True)}
"""Qwen2.5-Instruct."""
GPU, MICRO, TOKENS = 80e9, 8192, 128 * 3600
PEAK, USED = 989e12, 0.4
"""Dense bfloat16 of an H100 in FLOP/s, and the share of it that a good trainer reaches: an assumption."""


def row(shape: Shape) -> dict[str, float]:
    """Sizes in GB, smallest number of GPUs, seconds of the step's three compute-bound parts on them."""
    p = shape.parameters
    states = 16 * p  # float32 weights, gradients and two moments
    sharded = states + 2 * p + 2 * p  # the bfloat16 copy of the arithmetic, and the reference
    chunk = (1 << 27) // shape.vocabulary
    local = MICRO * shape.activations(True, True) + chunk * shape.vocabulary * 14
    gpus = 1
    while SPARE * (sharded / gpus + local + 2 * shape.block * 2) > GPU:
        gpus *= 2
    flops = p * TOKENS / (gpus * USED * PEAK)
    return {"parameters": p / 1e9, "states": states / GB, "reference": 2 * p / GB, "local": local / GB, "gpus": gpus,
            "cache": 4 * shape.layers * shape.kv_heads * shape.head / 1e3, "energy pass": 2 * flops, "update": 8 * flops}


if __name__ == "__main__":
    for name, shape in SHAPES.items():
        r = row(shape)
        print(f"| {name} | {r['parameters']:.2f} | {r['states']:.0f} | {r['reference']:.1f} | {r['local']:.1f} | {r['gpus']} | "
              f"{r['cache']:.0f} | {r['energy pass']:.1f} | {r['update']:.1f} |")
