"""What a training run is made of: one checked object that repeats it (method.md section 6)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from actfocus_core.errors import ActFocusError

Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[FiniteFloat, Field(gt=0, le=1)]


class TrainConfig(BaseModel):
    """Everything that decides what a run does; the defaults are the paper's where it has them.

    With the same config on the same machine a run repeats itself to the last bit (CPU). Make one
    with ``TrainConfig.of``, which starts from a preset, or directly.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    env: str = "frozen_lake"
    env_options: dict[str, Any] = {}
    """added to those the policy was trained with"""
    model: str = "tiny"
    """the policy to start from, and the frozen reference: tiny, smollm2, a folder, a hub id"""
    algorithm: Literal["grpo", "ppo"] = "grpo"
    scheme: str = "uniform"
    scheme_params: dict[str, Any] = {}
    """alpha, beta, signal, ...: instead of the scheme's own"""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """of the sampling and of the order of the mini-batches; the boards depend on the step alone"""
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """of the arithmetic; parameters are float32 always. auto: bfloat16 on a GPU, float32 on a CPU, where
    bfloat16 is faster only if the processor has instructions for it"""

    steps: Count = 200
    time_budget: Positive | None = None
    """seconds of training and evaluation; no step is begun that would not end within it"""
    prompts: Count = 8
    """groups a step (P)"""
    rollouts: Count = 16
    """rollouts a group (G)"""
    temperature: Positive = 1.0
    """of the rollouts; log-probs are those at temperature 1"""
    rollout_batch: Count = 128
    """episodes played at once"""
    sampler: Literal["transformers", "vllm"] = "transformers"
    """what plays them; vllm is an extra"""
    sampler_memory: Share = 0.4
    """share of the GPU's memory that vLLM may hold; it is given back while the policy is updated"""
    filter_share: Share = 1.0
    """share of the groups kept, those whose returns spread most (StarPO-S)"""

    lr: Positive = 1e-6
    critic_lr: Positive = 1e-5
    warmup: Annotated[int, Field(ge=0)] = 0
    """steps over which both rates grow linearly to their value"""
    epochs: Count = 1
    """passes over the kept trajectories a step"""
    minibatch: Count = 32
    """trajectories an optimiser step"""
    micro_tokens: Annotated[int, Field(ge=64)] = 8192
    """padded tokens a forward pass; decides memory and speed, not the result"""
    gradient_checkpointing: bool = False
    """computes activations twice to hold fewer of them"""
    lora_rank: Annotated[int, Field(ge=0)] = 0
    """train adapters of this rank on all linear layers (extra ``lora``); 0: all parameters"""
    max_grad_norm: Positive = 1.0
    clip_low: NotNegative = 0.2
    clip_high: NotNegative = 0.28
    normaliser: Literal["minibatch", "trajectory", "batch"] | None = None
    """over what the sums of the loss run; None: as the scheme says"""
    kl_coef: NotNegative = 0.0
    kl_kind: Literal["k1", "k2", "k3"] = "k3"
    entropy_coef: NotNegative = 0.001

    gamma: Share = 1.0
    lam: Annotated[FiniteFloat, Field(ge=0, le=1)] = 1.0
    whiten: bool = True
    """PPO: advantages of a batch to mean 0 and standard deviation 1 over its response tokens"""
    clip_value: Positive | None = None

    eval_every: Annotated[int, Field(ge=0)] = 10
    """steps between evaluations; one stands before the training and one at its end. 0: none"""
    eval_prompts: Count = 32
    eval_rollouts: Count = 16
    eval_temperatures: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (0.5, 1.0)
    store_evaluation: bool = False
    """keep the evaluation's trajectories too, in run folders under ``evaluation/``"""
    store_every: Annotated[int, Field(ge=0)] = 1
    """steps between those whose rollouts are stored; 0: none"""
    mass_every: Annotated[int, Field(ge=0)] = 10
    """steps between measurements of the gradient of each kind alone; 0: none"""
    checkpoint_every: Count = 1
    checkpoints_kept: Count = 2
    track: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    """log the metrics there too; each is an extra of that name"""
    format_floor: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.5
    """a share of well-formed turns below this is called a collapse of the format"""
    stop_on_format_collapse: bool = False

    @model_validator(mode="after")
    def _evaluations_are_apart(self) -> Self:
        if len(set(self.eval_temperatures)) != len(self.eval_temperatures):
            raise ValueError("eval_temperatures: each may stand there once")
        return self

    @classmethod
    def of(cls, **values: Any) -> TrainConfig:
        """Check values. Raises ActFocusError that names the first field that is wrong."""
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            given = f"={first['input']!r}" if where else ""
            raise ActFocusError(f"training config: {where}{given}: {first['msg']}") from None
