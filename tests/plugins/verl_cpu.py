"""The CPU as one of verl's platforms. Of VERL_USE_EXTERNAL_MODULES it comes first: verl asks for its platform on import."""

from __future__ import annotations

import types
from contextlib import nullcontext
from functools import partial

import torch
import verl.utils.distributed as distributed
import verl.utils.fsdp_utils as fsdp
import verl.utils.model as models
from torch.distributed.fsdp import OffloadPolicy
from transformers import AutoModelForTokenClassification

# verl names gloo for the CPU beside the device's own backend; where both are one, torch wants it said once.
distributed.initialize_global_process_group_ray = partial(
    distributed.initialize_global_process_group_ray, backend="gloo"
)
# verl parks the reference on the CPU, in memory pinned for a device; here it is there already.
fsdp.CPUOffloadPolicy = lambda pin_memory: OffloadPolicy()
# verl loads a critic with FlashAttention, whatever it is told; that is for CUDA alone.
models.load_valuehead_model = lambda local_path, torch_dtype, model_config, trust_remote_code: (
    AutoModelForTokenClassification.from_pretrained(
        local_path, dtype=torch_dtype, config=model_config, attn_implementation="sdpa"
    )
)

from verl.plugin.platform import PlatformRegistry
from verl.plugin.platform.platform_base import PlatformBase


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
