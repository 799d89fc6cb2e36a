"""The configuration of a training run: one validated object (method.md section 6)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from actfocus_core.errors import ActFocusError

Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[FiniteFloat, Field(gt=0, le=1)]


class TrainConfig(BaseModel):
    """All settings of a training run; the defaults are those of the paper, where it states them.

    The same config on the same machine gives the same run, bit for bit (CPU). ``TrainConfig.of`` reports an invalid
    value in one line. ``filter_share``, the earlier name of ``keep_fraction``, is accepted and is the name in run.json.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    env: str = "frozen_lake"
    env_options: dict[str, Any] = {}
    """in addition to those the policy was trained with"""
    model: str = "tiny"
    """the policy to start from, and the frozen reference: tiny, smollm2, a folder, a hub id"""
    algorithm: Literal["grpo", "ppo"] = "grpo"
    scheme: str = "uniform"
    scheme_params: dict[str, Any] = {}
    """alpha, beta, signal, ...: in place of the scheme's defaults"""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """of the sampling and of the order of the mini-batches; the prompts depend on the step alone"""
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """of the arithmetic; parameters are always float32. auto: bfloat16 on a GPU, float32 on a CPU, where
    bfloat16 is faster only if the processor has instructions for it"""

    steps: Count = 200
    time_budget: Positive | None = None
    """seconds of training and evaluation; a step that would exceed it is not begun"""
    prompts: Count = 8
    """groups per step (P)"""
    rollouts: Count = 16
    """rollouts per group (G)"""
    temperature: Positive = 1.0
    """of the rollouts; log-probs are those of temperature 1"""
    rollout_batch: Count = 128
    """episodes played in parallel"""
    sampler: Literal["transformers", "vllm"] = "transformers"
    """the sampler of the rollouts; vllm is an extra"""
    sampler_memory: Fraction = 0.4
    """fraction of the GPU's memory that vLLM may hold; it is released while the policy is updated"""
    keep_fraction: Fraction = Field(1.0, serialization_alias="filter_share")
    """fraction of the groups trained on, those with the largest standard deviation of returns (StarPO-S)"""

    lr: Positive = 1e-6
    critic_lr: Positive = 1e-5
    warmup: Annotated[int, Field(ge=0)] = 0
    """steps over which both rates grow linearly to their value"""
    epochs: Count = 1
    """passes over the selected trajectories per step"""
    minibatch: Count = 32
    """trajectories per optimiser step"""
    micro_tokens: Annotated[int, Field(ge=64)] = 8192
    """padded tokens per forward pass; decides memory and speed, not the result"""
    gradient_checkpointing: bool = False
    """recomputes activations in the backward pass to hold fewer of them"""
    lora_rank: Annotated[int, Field(ge=0)] = 0
    """train adapters of this rank on all linear layers (extra ``lora``); 0: all parameters"""
    max_grad_norm: Positive = 1.0
    clip_low: NotNegative = 0.2
    clip_high: NotNegative = 0.28
    normaliser: Literal["minibatch", "trajectory", "batch"] | None = None
    """scope of the sums in the loss; None: the scheme's"""
    kl_coef: NotNegative = 0.0
    kl_kind: Literal["k1", "k2", "k3"] = "k3"
    entropy_coef: NotNegative = 0.001

    gamma: Fraction = 1.0
    lam: Annotated[FiniteFloat, Field(ge=0, le=1)] = 1.0
    whiten: bool = True
    """PPO: standardise the advantages of a batch over its response tokens"""
    clip_value: Positive | None = None

    eval_every: Annotated[int, Field(ge=0)] = 10
    """steps between evaluations, besides those before the first step and after the last. 0: none"""
    eval_prompts: Count = 32
    eval_rollouts: Count = 16
    eval_temperatures: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (0.5, 1.0)
    store_evaluation: bool = False
    """store the trajectories of the evaluations too, in run folders under ``evaluation/``"""
    store_every: Annotated[int, Field(ge=0)] = 1
    """store the rollouts of every n-th step; 0: of none"""
    mass_every: Annotated[int, Field(ge=0)] = 10
    """measure the gradient of each kind of token alone every n-th step; 0: never"""
    checkpoint_every: Count = 1
    checkpoints_kept: Count = 2
    track: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    """trackers to log the metrics to as well; each is an extra of that name"""
    format_floor: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.5
    """a fraction of well-formed turns below this counts as a collapse of the format"""
    stop_on_format_collapse: bool = False

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, values: Any) -> Any:
        if isinstance(values, dict) and "filter_share" in values:
            return {**{k: v for k, v in values.items() if k != "filter_share"}, "keep_fraction": values["filter_share"]}
        return values

    @model_validator(mode="after")
    def _temperatures_differ(self) -> Self:
        if len(set(self.eval_temperatures)) != len(self.eval_temperatures):
            raise ValueError("eval_temperatures: must be distinct")
        return self

    @classmethod
    def of(cls, **values: Any) -> TrainConfig:
        """A validated config. Raises ActFocusError that names the first invalid field."""
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            value = f"={first['input']!r}" if field else ""
            raise ActFocusError(f"training config: {field}{value}: {first['msg']}") from None

    def as_stored(self) -> dict[str, Any]:
        """The config as JSON, with the names that run.json uses."""
        return self.model_dump(mode="json", by_alias=True)
