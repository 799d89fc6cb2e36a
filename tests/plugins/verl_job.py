"""verl's own command, started on a setting as ``actfocus export`` writes it, changed only in what a CPU and a test ask for."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from actfocus_core.interop.recipes import Setting, verl_text

MODULES = "tests.plugins.verl_cpu,actfocus_core.plugins.verl_ray,tests.plugins.verl_servers"
"""What verl imports in every process."""
SMALL = """
trainer.device=cpu trainer.n_gpus_per_node=2 trainer.total_training_steps=2 trainer.resume_mode=disable
data.train_batch_size=3 data.dataloader_num_workers=0 data.max_prompt_length=512 data.max_response_length=512
actor_rollout_ref.rollout.name=embedded actor_rollout_ref.rollout.n=4 actor_rollout_ref.rollout.calculate_log_probs=True
actor_rollout_ref.rollout.agent.num_workers=1 reward.num_workers=1 transfer_queue.backend.SimpleStorage.num_data_storage_units=1
actor_rollout_ref.actor.ppo_mini_batch_size=3 actor_rollout_ref.actor.ppo_max_token_len_per_gpu=1500 actor_rollout_ref.actor.optim.lr=1e-3
actor_rollout_ref.actor.entropy_coeff=0 actor_rollout_ref.actor.strategy=fsdp2 actor_rollout_ref.ref.strategy=fsdp2
actor_rollout_ref.actor.use_torch_compile=False actor_rollout_ref.ref.use_torch_compile=False
+actor_rollout_ref.actor.fsdp_config.mixed_precision={param_dtype:fp32,reduce_dtype:fp32}
+actor_rollout_ref.ref.fsdp_config.mixed_precision={param_dtype:fp32,reduce_dtype:fp32}
actor_rollout_ref.model.use_remove_padding=False +actor_rollout_ref.model.override_config.attn_implementation=sdpa
+ray_kwargs.ray_init.num_gpus=2 ray_kwargs.ray_init.num_cpus=16 +ray_kwargs.ray_init.include_dashboard=False
"""
"""Two ranks of float32 on a CPU, each its own rollout server; twelve episodes a step, of one mini-batch."""
CRITIC = """
algorithm.adv_estimator=gae critic.model.path=${actor_rollout_ref.model.path} critic.strategy=fsdp2 critic.optim.lr=1e-3
critic.ppo_max_token_len_per_gpu=1500 critic.model.use_remove_padding=False critic.fsdp.use_torch_compile=False
+critic.model.override_config.attn_implementation=sdpa +critic.fsdp.mixed_precision={param_dtype:fp32,reduce_dtype:fp32}
"""
"""PPO in GRPO's place, its critic as small."""


def settings(setting: Setting) -> tuple[dict[str, str], list[str], list[str]]:
    """What the exported command says, as it is changed here: the environment, the prompts' script and hydra's overrides."""
    prompts, command = verl_text(setting).split("\n", 2)[1:]
    words = shlex.split(command.replace("\\\n", " ").replace("${GPUS:-8}", "2"))
    own = {
        **dict(word.split("=", 1) for word in words[:3]),
        "VERL_PLATFORM": "cpu",
        "VERL_ENGINE_DEVICE": "cuda",
        "VERL_USE_EXTERNAL_MODULES": MODULES,
    }
    return own, shlex.split(prompts)[1:], [*words[words.index("verl.trainer.main_ppo") + 1 :], *SMALL.split()]


def train(setting: Setting, folder: Path, run: Path, *overrides: str) -> subprocess.CompletedProcess:
    """Run the exported command in ``folder``, where its prompts are written too; the run folder is ``run``."""
    own, prompts, given = settings(setting)
    own = {
        **os.environ,
        **own,
        "ACTFOCUS_RUN": str(run),
        "OMP_NUM_THREADS": "1",
        "RAY_worker_niceness": "0",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    subprocess.run([sys.executable, *prompts], cwd=folder, env=own, check=True)
    return subprocess.run(
        [sys.executable, "-m", "verl.trainer.main_ppo", *given, f"trainer.default_local_dir={folder}", *overrides],
        cwd=folder,
        env=own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
