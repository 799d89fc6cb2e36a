"""One short training by TRL, in as many processes as it is started in: `python -m tests.plugins.trl_run OUT [RUN]`."""

import os
import sys
import tempfile

import torch
from safetensors.torch import save_file
from trl import GRPOConfig

from actfocus_core.plugins.trl import ActFocusGRPOTrainer, boards
from actfocus_core.policy.loading import trained_options

OPTIONS = trained_options("tiny")["frozen_lake"]
PROMPTS, ROLLOUTS = 2, 4
RECOMPUTING = next(
    n for n in ("activation_checkpointing", "gradient_checkpointing") if n in GRPOConfig.__dataclass_fields__
)
"""transformers renamed the switch."""


def config(processes: int = 1, steps: int = 2, **more) -> GRPOConfig:
    """Two boards, four rollouts of each, in two micro-batches a process. Plain SGD: a step is the gradient's."""
    size = PROMPTS * ROLLOUTS // processes // 2
    return GRPOConfig(
        **{
            **dict(
                output_dir=tempfile.mkdtemp(),
                per_device_train_batch_size=size,
                gradient_accumulation_steps=2,
                num_generations=ROLLOUTS,
                max_steps=steps,
                learning_rate=0.05,
                lr_scheduler_type="constant",
                optim="sgd",
                max_grad_norm=1e9,
                logging_steps=1,
                save_strategy="no",
                report_to=[],
                use_cpu=True,
                bf16=False,
                epsilon=0.2,
                epsilon_high=0.28,
                beta=0.0,
                disable_tqdm=True,
                **{RECOMPUTING: False},
                ddp_backend="gloo" if processes > 1 else None,
            ),
            **more,
        }
    )


def trainer(args: GRPOConfig, **more) -> ActFocusGRPOTrainer:
    return ActFocusGRPOTrainer(
        "tiny", **{**dict(env="frozen_lake", args=args, train_dataset=boards("frozen_lake", 8, **OPTIONS)), **more}
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = trainer(config(int(os.environ.get("WORLD_SIZE", 1))), run=sys.argv[2] if len(sys.argv) > 2 else None)
    made.train()
    if made.accelerator.is_main_process:
        # As copies: tied weights share their memory, which a file of safetensors does not have.
        save_file(
            {name: p.clone() for name, p in made.accelerator.unwrap_model(made.model).state_dict().items()}, sys.argv[1]
        )
    # Left open, the process group's threads can abort a process that has done all its work, while it exits.
    made.accelerator.wait_for_everyone()
    made.accelerator.end_training()
