"""Rollouts with cached keys and values of earlier turns, compared with generate: python benchmarks/sampling.py

The peer is ``model.generate`` of transformers in the same multi-turn loop: in every turn it computes the whole dialogue
again, padded on the left, and it records neither log-probs nor entropies (our sampler does). Policy, boards and temperature
are equal; the random numbers differ.

``--fixed N``: instead, sample exactly N tokens for each stream after different prompts, and compare with plain decoding
loops on the model's own forward pass (transformers' dynamic and static cache) that sample tokens and record nothing.

Times are CPU seconds of this process, so that other load matters little; all alternate, and the best repeat of each counts.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch
from transformers.cache_utils import DynamicCache, StaticCache

from actfocus_core.policy import Policy, load_policy
from actfocus_core.policy.sampler import CachedSampler, Reply
from actfocus_core.rollout import collect


class GenerateSampler:
    """The ``Sampler`` protocol on ``model.generate``."""

    def __init__(self, policy: Policy):
        self.model, self.stop = policy.model, policy.chat.stop_ids()

    def begin(self, rows: int) -> None:
        self.streams: list[list[int]] = [[] for _ in range(rows)]

    def keep(self, rows: list[int]) -> None:
        self.streams = [self.streams[row] for row in rows]

    def reply(self, blocks: list[list[int]], limit: int, uniforms: np.ndarray) -> list[Reply]:
        self.streams = [stream + list(block) for stream, block in zip(self.streams, blocks)]
        width = max(map(len, self.streams))
        ids = torch.zeros(len(blocks), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, mask_row, stream in zip(ids, mask, self.streams):
            row[width - len(stream) :] = torch.tensor(stream)
            mask_row[width - len(stream) :] = 1
        generated = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=limit,
            do_sample=True,
            top_k=0,
            eos_token_id=self.stop,
            pad_token_id=0,
        )[:, width:].tolist()
        replies = []
        for stream, row in zip(self.streams, generated):
            end = next((i + 1 for i, token in enumerate(row) if token in self.stop), len(row))
            stream += row[:end]
            replies.append(
                Reply(row[:end], np.zeros(end, np.float32), np.zeros(end, np.float32), row[end - 1] in self.stop)
            )
        return replies


def measure(policy: Policy, sampler, env: str, prompts: int, rollouts: int, options: dict) -> dict[str, float]:
    """Collect rollouts once: trajectories and sampled tokens per CPU second."""
    start = time.process_time()
    trajectories = collect(policy, env, prompts=prompts, rollouts=rollouts, sampler=sampler, env_options=options)
    seconds = time.process_time() - start
    tokens = sum(int(t.response_mask.sum()) for t in trajectories)
    return {
        "seconds": seconds,
        "trajectories_per_second": len(trajectories) / seconds,
        "tokens_per_second": tokens / seconds,
        "tokens_a_trajectory": tokens / len(trajectories),
        "turns": float(np.mean([len(t.turn_records) for t in trajectories])),
    }


class FixedLoop:
    """A plain decoding loop with a fixed number of tokens, on one of transformers' caches."""

    def __init__(self, policy: Policy, static: bool):
        self.model, self.static = policy.model, static

    @torch.no_grad()
    def __call__(self, prompts: list[list[int]], tokens: int) -> None:
        rows, size = len(prompts), len(prompts[0]) + tokens
        cache = StaticCache(config=self.model.config, max_cache_len=size) if self.static else DynamicCache()
        ids, positions = torch.tensor(prompts), torch.arange(size - tokens)
        for _ in range(tokens):
            logits = self.model(
                input_ids=ids,
                position_ids=positions[None].expand(rows, -1),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            ids, positions = torch.multinomial(logits.softmax(-1), 1), positions[-1:] + 1


class FixedSampler:
    """``CachedSampler`` without tokens that end a reply."""

    def __init__(self, policy: Policy):
        self.sampler = CachedSampler(policy)
        self.sampler.stop = torch.tensor([-1])

    def __call__(self, prompts: list[list[int]], tokens: int) -> None:
        self.sampler.begin(len(prompts))
        replies = self.sampler.reply(prompts, tokens, np.random.default_rng(0).random((len(prompts), tokens)))
        assert all(len(reply.ids) == tokens for reply in replies)


def fixed(policy: Policy, prompt_length: int, rows: int, tokens: int, repeats: int) -> dict[str, dict]:
    """Tokens per CPU second of every loop, the best of the repeats."""
    prompts = np.random.default_rng(1).integers(0, policy.model.config.vocab_size, (rows, prompt_length)).tolist()
    loops = {
        "ours": FixedSampler(policy),
        "dynamic cache": FixedLoop(policy, False),
        "static cache": FixedLoop(policy, True),
    }
    best = dict.fromkeys(loops, 0.0)
    for _ in range(repeats):
        for name, loop in loops.items():
            start = time.process_time()
            loop(prompts, tokens)
            best[name] = max(best[name], rows * tokens / (time.process_time() - start))
    return {
        "tokens_per_second": best,
        "ratio_to_the_best_loop": best["ours"] / max(best[name] for name in loops if name != "ours"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", default="tiny")
    parser.add_argument("--env", default="frozen_lake")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--rollouts", type=int, default=16)
    parser.add_argument("--option", action="append", default=[], metavar="KEY=JSON", help="environment option")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fixed", type=int, metavar="TOKENS", help="compare decoding loops of one shape instead")
    parser.add_argument(
        "--prompt-tokens", "--opening", type=int, default=120, help="with --fixed: length of each prompt in tokens"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    policy = load_policy(options.policy, device="cpu")
    if options.fixed:
        rows = options.prompts * options.rollouts
        print(
            json.dumps(
                {
                    "policy": options.policy,
                    "rows": rows,
                    "opening": options.prompt_tokens,
                    "tokens": options.fixed,
                    **fixed(policy, options.prompt_tokens, rows, options.fixed, options.repeats),
                },
                indent=2,
            )
        )
        return
    env_options = {key: json.loads(value) for key, _, value in (pair.partition("=") for pair in options.option)}
    samplers = {"cached": CachedSampler(policy), "generate": GenerateSampler(policy)}
    runs: dict[str, list[dict]] = {name: [] for name in samplers}
    for _ in range(options.repeats):
        for name, sampler in samplers.items():
            runs[name].append(measure(policy, sampler, options.env, options.prompts, options.rollouts, env_options))
    best = {name: max(rows, key=lambda row: row["tokens_per_second"]) for name, rows in runs.items()}
    ratio = {
        unit: best["cached"][unit] / best["generate"][unit] for unit in ("trajectories_per_second", "tokens_per_second")
    }
    print(
        json.dumps(
            {
                "policy": options.policy,
                "env": options.env,
                "rows": options.prompts * options.rollouts,
                "threads": options.threads,
                **best,
                "ratio": ratio,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
