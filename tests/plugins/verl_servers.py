"""Rollout servers that play the embedded policy, one a rank, by verl's own registries.

Not in ``verl_cpu``: Ray imports the module of ``Server`` before it imports verl, and verl's platform must be there by then.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import ray
import torch
from verl.workers.rollout import base as rollouts
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput

from actfocus_core.policy import load_policy
from actfocus_core.policy.sampler import CachedSampler


class Server:
    """Plays the policy whose weights it was given last, each request a stream read anew."""

    def __init__(self, path: str):
        torch.set_num_threads(1)
        self.policy, self.step, self.asked = load_policy(path, "cpu"), 0, Counter()

    async def count(self, stream: tuple) -> int:
        """The number of earlier requests for this stream, counted by the first server for all, so that equal streams get different random numbers."""
        self.asked[stream] += 1
        return self.asked[stream]

    async def generate(self, prompt_ids, sampling_params, request_id, image_data=None, video_data=None) -> TokenOutput:
        sampler = CachedSampler(self.policy, sampling_params["temperature"])
        sampler.begin(1)
        limit, stream = sampling_params["max_tokens"], (self.step, *prompt_ids)
        rng = np.random.default_rng([await ray.get_actor("server-0").count.remote(stream), *stream])
        (reply,) = sampler.reply([list(prompt_ids)], limit, rng.random((1, limit)))
        return TokenOutput(
            token_ids=reply.ids, log_probs=reply.logprobs.tolist(), extra_fields={"global_steps": self.step}
        )

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
