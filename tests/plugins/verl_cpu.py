"""What verl needs to run whole on a CPU: a platform and a rollout server, by verl's own registries.

``train`` starts verl on a setting as ``actfocus export`` writes it, changed only in what a CPU and a test ask for.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import types
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import ray
import torch
import verl.utils.distributed as distributed
import verl.utils.fsdp_utils as fsdp
from torch.distributed.fsdp import OffloadPolicy

# verl names gloo for the CPU beside the device's own backend; where both are one, torch wants it said once.
distributed.initialize_global_process_group_ray = partial(distributed.initialize_global_process_group_ray, backend="gloo")
# verl parks the reference on the CPU, in memory pinned for a device; here it is there already.
fsdp.CPUOffloadPolicy = lambda pin_memory: OffloadPolicy()

from verl.plugin.platform import PlatformRegistry
from verl.plugin.platform.platform_base import PlatformBase
from verl.workers.rollout import base as rollouts
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput


class Device(types.ModuleType):
    """``torch.cpu``, and what verl asks of a device beyond it."""

    def __getattr__(self, name: str):
        return getattr(torch.cpu, name)

    def device_count(self) -> int:
        return 1

    def get_device_name(self) -> str:
        return "CPU"

    def get_rng_state(self) -> torch.Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor) -> None:
        torch.set_rng_state(state)

    def mem_get_info(self) -> tuple[int, int]:
        return 0, 0

    def empty_cache(self) -> None: ...

    def max_memory_allocated(self) -> int:
        return 0

    memory_allocated = memory_reserved = max_memory_reserved = max_memory_allocated


@PlatformRegistry.register(platform="cpu")
class CPU(PlatformBase):
    """Cores counted as Ray's GPUs, talking over gloo."""

    device_name, vendor_name = "cpu", "cpu"
    device_module = Device("cpu")

    def is_available(self) -> bool:
        return True

    def current_device(self) -> str:
        return "cpu"

    def device_count(self) -> int:
        return 1

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        return None, None

    def is_ipc_supported(self) -> bool:
        return False

    def nvtx_range(self, msg: str):
        return nullcontext()

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def _nothing(self, *_) -> None: ...

    set_device = synchronize = set_allocator_settings = empty_cache = profiler_start = profiler_stop = cudart = _nothing


class Server:
    """Plays the policy whose weights it was given last, each request a stream read anew."""

    def __init__(self, path: str):
        from actfocus_core.policy import load_policy

        torch.set_num_threads(1)
        self.policy, self.step = load_policy(path, "cpu"), 0

    async def generate(self, prompt_ids, sampling_params, request_id, image_data=None, video_data=None) -> TokenOutput:
        from actfocus_core.policy.sampler import CachedSampler

        sampler = CachedSampler(self.policy, sampling_params["temperature"])
        sampler.begin(1)
        limit = sampling_params["max_tokens"]
        reply, = sampler.reply([list(prompt_ids)], limit, np.random.default_rng([self.step, *prompt_ids]).random((1, limit)))
        return TokenOutput(token_ids=reply.ids, log_probs=reply.logprobs.tolist(), extra_fields={"global_steps": self.step})

    async def update(self, weights: dict, step: int) -> None:
        self.policy.model.load_state_dict({name: torch.tensor(value) for name, value in weights.items()}, strict=False)
        self.step = step

    async def _nothing(self, *_, **__) -> None: ...

    sleep = wake_up = clear_kv_cache = release_kv_cache = resume_kv_cache = _nothing
    abort_all_requests = resume_generation = start_profile = stop_profile = _nothing


class Replica(RolloutReplica):
    async def launch_servers(self) -> None:
        path = self.model_config.path
        self.servers = [ray.remote(Server).options(name=f"server-{self.replica_rank}", num_cpus=0).remote(path)]
        self._server_handle, self._server_address = self.servers[0], f"server-{self.replica_rank}"


class Weights(BaseRollout):
    """Hands the trained weights to the server of its rank's replica; every rank takes part in gathering them."""

    async def resume(self, tags) -> None: ...

    async def release(self) -> None: ...

    async def update_weights(self, weights, wire_format="named_tensors", global_steps=0, **_) -> None:
        whole = {name: tensor.detach().cpu().float().numpy() for name, tensor in weights}
        await ray.get_actor(f"server-{torch.distributed.get_rank()}").update.remote(whole, global_steps or 0)


RolloutReplicaRegistry.register("embedded", lambda: Replica)
rollouts._ROLLOUT_REGISTRY["embedded", "async"] = f"{__name__}.Weights"


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


def settings(setting) -> tuple[dict[str, str], list[str], list[str]]:
    """What the exported command says, as it is changed here: the environment, the prompts' script and hydra's overrides."""
    from actfocus_core.interop.setting import verl_text

    prompts, command = verl_text(setting).split("\n", 2)[1:]
    words = shlex.split(command.replace("\\\n", " ").replace("${GPUS:-8}", "2"))
    own = {**dict(word.split("=", 1) for word in words[:3]), "VERL_PLATFORM": "cpu", "VERL_ENGINE_DEVICE": "cuda",
           "VERL_USE_EXTERNAL_MODULES": f"{__name__},actfocus_core.plugins.verl_ray"}
    return own, shlex.split(prompts)[1:], [*words[words.index("verl.trainer.main_ppo") + 1:], *SMALL.split()]


def train(setting, folder: Path, run: Path, *overrides: str) -> subprocess.CompletedProcess:
    """Run the exported command in ``folder``, where its prompts are written too; the run folder is ``run``."""
    own, prompts, given = settings(setting)
    own = {**os.environ, **own, "ACTFOCUS_RUN": str(run), "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0",
           "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, *prompts], cwd=folder, env=own, check=True)
    return subprocess.run([sys.executable, "-m", "verl.trainer.main_ppo", *given, f"trainer.default_local_dir={folder}", *overrides],
                          cwd=folder, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
