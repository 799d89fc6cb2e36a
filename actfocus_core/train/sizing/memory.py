"""The memory that a training run needs, computed from its config, and the settings to change if it does not fit.

Only large tensors are counted; SPARE covers the rest. All sizes are in bytes. The activation bytes per token are exact for
Llama and Qwen2 models with fused attention (a test counts the tensors that autograd holds). Ours: the paper states no memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actfocus_core.errors import ActFocusError
from actfocus_core.train.config import TrainConfig

GB = 1e9
SPARE = 1.1
"""Safety factor for fragmentation, buffers and the device context."""
CONTEXT = {"webshop": 8192}
"""Maximum tokens of a dialogue (method.md section 6); 3,600 in the other environments."""


@dataclass(frozen=True)
class Shape:
    """The dimensions of a causal language model that determine its memory."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head: int
    """dimension of a head"""
    mlp: int
    vocabulary: int
    tied: bool
    """whether the output layer shares the weights of the embedding"""
    qkv_bias: bool = False

    @classmethod
    def of(cls, config: Any) -> Shape:
        """The shape of a Hugging Face model, from its config."""
        c = config.get_text_config()
        head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
        return cls(
            c.num_hidden_layers,
            c.hidden_size,
            c.num_attention_heads,
            getattr(c, "num_key_value_heads", None) or c.num_attention_heads,
            head,
            c.intermediate_size,
            c.vocab_size,
            bool(c.tie_word_embeddings),
            c.model_type == "qwen2" or bool(getattr(c, "attention_bias", False)),
        )

    @property
    def linear(self) -> list[tuple[int, int]]:
        """(in, out) of the linear layers of one block."""
        q, kv = self.heads * self.head, self.kv_heads * self.head
        return [
            (self.width, q),
            (self.width, kv),
            (self.width, kv),
            (q, self.width),
            (self.width, self.mlp),
            (self.width, self.mlp),
            (self.mlp, self.width),
        ]

    @property
    def block(self) -> int:
        """Parameters of one block."""
        bias = (self.heads + 2 * self.kv_heads) * self.head * self.qkv_bias
        return sum(a * b for a, b in self.linear) + bias + 2 * self.width

    @property
    def backbone(self) -> int:
        """Parameters without a separate output layer."""
        return self.vocabulary * self.width + self.layers * self.block + self.width

    @property
    def parameters(self) -> int:
        return self.backbone + (0 if self.tied else self.vocabulary * self.width)

    def adapters(self, rank: int) -> int:
        """Parameters of low-rank adapters on all linear layers."""
        return self.layers * sum(rank * (a + b) for a, b in self.linear)

    def activations(self, bf16: bool, checkpointing: bool) -> int:
        """Bytes per token held for the backward pass.

        A block holds, in the dtype of the arithmetic (2 or 4 bytes): queries and attention output, keys and values, and four
        tensors of the MLP; six copies of the residual stream in float32 (with bfloat16 five, and three in bfloat16); and the
        log-sum-exps of the heads and two norms.
        """
        size = 2 if bf16 else 4
        q, kv = self.heads * self.head, self.kv_heads * self.head
        block = (26 if bf16 else 24) * self.width + size * (4 * self.mlp + 2 * q + 2 * kv) + 4 * self.heads + 8
        # With checkpointing a block holds only its input, and one block at a time is recomputed.
        return self.layers * 4 * self.width + block if checkpointing else self.layers * block


QWEN = {
    "0.5B": Shape(24, 896, 14, 2, 64, 4864, 151936, True, True),
    "1.5B": Shape(28, 1536, 12, 2, 128, 8960, 151936, True, True),
    "3B": Shape(36, 2048, 16, 2, 128, 11008, 151936, True, True),
}
"""Qwen2.5-Instruct, the models of the paper."""


@dataclass(frozen=True)
class Memory:
    """Bytes by part: ``held`` permanently, plus the larger of ``sampling`` and ``updating``."""

    held: dict[str, float]
    sampling: dict[str, float]
    updating: dict[str, float]

    @property
    def total(self) -> float:
        return SPARE * (sum(self.held.values()) + max(sum(self.sampling.values()), sum(self.updating.values())))

    def __str__(self) -> str:
        """The parts of the peak in GB, largest first."""
        peak = max(self.sampling, self.updating, key=lambda parts: sum(parts.values()))
        parts = sorted({**self.held, **peak}.items(), key=lambda part: -part[1])
        return ", ".join(f"{name} {size / GB:.1f}" for name, size in parts if size > 0.005 * self.total)


def estimate(config: TrainConfig, shape: Shape, bf16: bool, device_memory: float = 0.0) -> Memory:
    """The peak memory of a run. ``bf16``: bfloat16 arithmetic. ``device_memory``: total memory of the GPU, for vLLM."""
    size = 2 if bf16 else 4
    trained = shape.adapters(config.lora_rank) if config.lora_rank else shape.parameters
    held: dict[str, float] = {
        "weights": 4 * (shape.parameters + (trained if config.lora_rank else 0)),
        "Adam": 8 * trained,
        "reference": size * shape.parameters,
    }
    if config.algorithm == "ppo":
        held["critic and its Adam"] = 12 * shape.backbone
    if bf16 and config.sampler == "transformers":
        held["rollout policy"] = 2 * shape.parameters
    sampling: dict[str, float] = (
        {"vLLM": config.sampler_memory * device_memory}
        if config.sampler == "vllm"
        else {
            "keys and values": config.rollout_batch
            * CONTEXT.get(config.env, 3600)
            * size
            * 2
            * shape.layers
            * shape.kv_heads
            * shape.head
        }
    )
    chunk = min(config.micro_tokens, max(32, (1 << 24) // shape.vocabulary))
    updating: dict[str, float] = {
        "gradients": 4 * trained,
        "activations": config.micro_tokens * shape.activations(bf16, config.gradient_checkpointing),
        # In float32: the chunk, its exponentials and their gradient; and the output in the dtype of the arithmetic.
        "logits": chunk * shape.vocabulary * (12 + size),
    }
    if bf16:
        updating["weights in bfloat16"] = 2 * shape.parameters
    if config.algorithm == "ppo":
        updating["critic's gradients"] = 4 * shape.backbone
    return Memory(held, sampling, updating)


CHANGES = (
    {"micro_tokens": 4096},
    {"gradient_checkpointing": True},
    {"rollout_batch": 32},
    {"lora_rank": 32},
    {"micro_tokens": 1024, "rollout_batch": 8},
)
"""Settings that reduce the memory, in the order in which they are proposed; each is added to those before."""


def check_memory(config: TrainConfig, shape: Shape, bf16: bool, available: float, device_memory: float = 0.0) -> None:
    """Raise ActFocusError, with the estimate and the settings to change, if a run needs more than ``available`` bytes."""
    needed = estimate(config, shape, bf16, device_memory)
    if needed.total <= available:
        return
    settings: dict[str, int] = {}
    for change in CHANGES:
        # Skip changes that would increase a value.
        settings |= {
            k: v
            for k, v in change.items()
            if k not in ("micro_tokens", "rollout_batch")
            and not getattr(config, k)
            or k in ("micro_tokens", "rollout_batch")
            and getattr(config, k) > v
        }
        less = estimate(config.model_copy(update=settings), shape, bf16, device_memory).total
        if settings and less <= available:
            advice = " ".join(f"--set {k}={str(v).lower()}" for k, v in settings.items())
            advice = f"{advice} needs {less / GB:.1f}"
            break
    else:
        advice = "no setting makes it fit: use a smaller model or a device with more memory"
    raise ActFocusError(
        f"{config.model}: training needs {needed.total / GB:.1f} GB ({needed}; {SPARE:.0%} of the sum), "
        f"{available / GB:.1f} GB are free; {advice}"
    )
