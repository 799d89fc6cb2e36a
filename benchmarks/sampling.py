"""Rollouts with the keys and values of earlier turns kept, against generate: python benchmarks/sampling.py

The peer is ``model.generate`` of transformers in the same multi-turn loop: it reads the whole
dialogue again in every turn, padded on the left, and records neither log-probs nor entropies (which
ours does). Same policy, same boards, same temperature, other dice. Seconds are those of this process
on the CPU, so that a busy machine does not decide; the two take turns, and the best of each counts.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

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

    def reply(self, blocks: list[list[int]], limit: int, dice: np.ndarray) -> list[Reply]:
        self.streams = [stream + list(block) for stream, block in zip(self.streams, blocks)]
        width = max(map(len, self.streams))
        ids = torch.zeros(len(blocks), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, seen, stream in zip(ids, mask, self.streams):
            row[width - len(stream):] = torch.tensor(stream)
            seen[width - len(stream):] = 1
        said = self.model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=limit, do_sample=True, top_k=0,
                                   eos_token_id=self.stop, pad_token_id=0)[:, width:].tolist()
        replies = []
        for stream, row in zip(self.streams, said):
            end = next((i + 1 for i, token in enumerate(row) if token in self.stop), len(row))
            stream += row[:end]
            replies.append(Reply(row[:end], np.zeros(end, np.float32), np.zeros(end, np.float32), row[end - 1] in self.stop))
        return replies


def measure(policy: Policy, sampler, env: str, prompts: int, rollouts: int, options: dict) -> dict[str, float]:
    """Roll out once: trajectories and sampled tokens a second of CPU time."""
    began = time.process_time()
    found = collect(policy, env, prompts=prompts, rollouts=rollouts, sampler=sampler, env_options=options)
    seconds = time.process_time() - began
    tokens = sum(int(t.response_mask.sum()) for t in found)
    return {"seconds": seconds, "trajectories_per_second": len(found) / seconds, "tokens_per_second": tokens / seconds,
            "tokens_a_trajectory": tokens / len(found), "turns": float(np.mean([len(t.turn_records) for t in found]))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", default="tiny")
    parser.add_argument("--env", default="frozen_lake")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--rollouts", type=int, default=16)
    parser.add_argument("--option", action="append", default=[], metavar="KEY=JSON", help="of the environment")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    policy = load_policy(options.policy, device="cpu")
    env_options = {key: json.loads(value) for key, _, value in (pair.partition("=") for pair in options.option)}
    samplers = {"cached": CachedSampler(policy), "generate": GenerateSampler(policy)}
    runs: dict[str, list[dict]] = {name: [] for name in samplers}
    for _ in range(options.repeats):
        for name, sampler in samplers.items():
            runs[name].append(measure(policy, sampler, options.env, options.prompts, options.rollouts, env_options))
    best = {name: max(rows, key=lambda row: row["tokens_per_second"]) for name, rows in runs.items()}
    ratio = {unit: best["cached"][unit] / best["generate"][unit] for unit in ("trajectories_per_second", "tokens_per_second")}
    print(json.dumps({"policy": options.policy, "env": options.env, "rows": options.prompts * options.rollouts,
                      "threads": options.threads, **best, "ratio": ratio}, indent=2))


if __name__ == "__main__":
    main()
