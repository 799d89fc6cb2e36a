"""One GRPO step on the same work, here and in TRL's GRPOTrainer: python benchmarks/peers.py

    pip install -c constraints.txt trl==1.16.0     # the peer, in the same environment as actfocus

The work: P prompts with G completions of exactly N sampled tokens each (end-of-turn tokens are ignored), a reward, group
advantages, and one clipped update of all parameters with Adam. Model, prompts and numbers of tokens are equal; the sampled
tokens differ. With ``--dialogues`` the work is agentic: P FrozenLake boards with G whole episodes of several turns each. TRL
plays them in its ``rollout_func``, all episodes of a step at once, with ``generate`` on the dialogue so far; its tokens are
those the policy sampled.

Every setting runs in a separate process, so that peak memory is measured separately. TRL samples with ``generate`` and runs
with its faster settings (no gradient checkpointing, no reference, old log-probs not recomputed, two micro-batch sizes, three
precisions), of which the best counts. Ours are ``CachedSampler``, ``TrainingBatch`` and ``policy_step``, as in training.
Times are CPU seconds of the process; the first step is a warm-up and not counted.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import sys
import tempfile
import time

import numpy as np
import torch

from actfocus_core import processes
from actfocus_core.credit import Batch, get_scheme
from actfocus_core.envs import make_env
from actfocus_core.losses import normalisers
from actfocus_core.policy import Policy, load_policy
from actfocus_core.policy.sampler import CachedSampler
from actfocus_core.policy.split_model import SplitModel
from actfocus_core.rollout import TRAINING_SEED, collect
from actfocus_core.train import TrainConfig
from actfocus_core.train.batch import TrainingBatch
from actfocus_core.train.learner import bf16_copy
from actfocus_core.train.update import Adam, forward, per_token, policy_step
from actfocus_core.trajectory import TokenKind, Trajectory
from benchmarks.sampling import GenerateSampler

LR = 1e-6


def prompt_ids(policy: Policy, prompts: int) -> list[list[int]]:
    """The token ids of the first ``prompts`` training prompts of FrozenLake."""
    env = make_env("frozen_lake", **policy.env_options.get("frozen_lake", {}))
    return [policy.chat.initial_segment(env.system_prompt(), env.reset(TRAINING_SEED + i)).ids for i in range(prompts)]


def reward(text: str) -> float:
    """An arbitrary number that differs between completions."""
    return (sum(map(ord, text)) % 97) / 97


def ours(policy: Policy, o: argparse.Namespace) -> list[tuple[float, int]]:
    """(CPU seconds, sampled tokens) of every step, with this library."""
    config = TrainConfig.of(
        lr=LR,
        precision="float32" if o.precision == "float32" else "bfloat16",
        micro_tokens=o.micro_tokens,
        entropy_coef=0.0,
    )
    model = SplitModel(policy.model, fast=config.precision == "float32")
    policy.model.requires_grad_(True)
    adam = Adam(policy.model.named_parameters(), LR, 0, 1.0)
    player = policy if config.precision == "float32" else bf16_copy(policy)
    sampler = CachedSampler(player)
    if not o.dialogues:
        sampler.stop = sampler.stop[:0]
    blocks = [ids for ids in prompt_ids(policy, o.prompts) for _ in range(o.rollouts)]
    rng, steps = np.random.default_rng(0), []
    for step in range(1, o.steps + 1):
        start = time.process_time()
        if o.dialogues:
            trajectories = collect(
                player, "frozen_lake", prompts=o.prompts, rollouts=o.rollouts, step=step, sampler=sampler
            )
        else:
            sampler.begin(len(blocks))
            replies = sampler.reply(blocks, o.tokens, rng.random((len(blocks), o.tokens)))
            trajectories = [
                trajectory(policy, i, o.rollouts, block, r.ids, r.logprobs)
                for i, (block, r) in enumerate(zip(blocks, replies))
            ]
        batch = Batch.of(trajectories)
        credit = get_scheme("uniform").compute(batch)
        # With bfloat16, sampling and training use different arithmetic, so log-probs are recomputed.
        old = (
            [t.logprobs for t in trajectories]
            if player is policy
            else per_token(
                trajectories,
                lambda micro: forward(model, micro)[0],
                config.micro_tokens,
                policy.device,
                config.precision,
            )
        )
        tokens = TrainingBatch(
            trajectories,
            {
                "old_logprobs": np.concatenate(old),
                "advantages": credit.advantage,
                "weights": credit.weight * credit.keep,
                "keep": credit.keep,
                "clip_scale": credit.clip_scale,
            },
        )
        rows = np.arange(len(trajectories))
        policy_step(model, adam, tokens, rows, normalisers(tokens.total("weights"), [rows], "minibatch"), config, step)
        if player is not policy:
            with torch.no_grad():
                for copy, parameter in zip(player.model.parameters(), policy.model.parameters()):
                    copy.copy_(parameter)
        steps.append((time.process_time() - start, sum(int(t.response_mask.sum()) for t in trajectories)))
    return steps


def trajectory(policy: Policy, number: int, rollouts: int, block: list[int], reply: list[int], logprobs) -> Trajectory:
    """One completion, with its reward."""
    nan = [float("nan")] * len(block)
    return Trajectory(
        id=str(number),
        token_ids=block + reply,
        turns=[0] * (len(block) + len(reply)),
        kinds=[TokenKind.USER] * len(block) + [TokenKind.REASONING] * len(reply),
        logprobs=nan + logprobs.tolist(),
        texts=[""] * (len(block) + len(reply)),
        turn_records=[],
        signals={},
        group=str(number // rollouts),
        env="frozen_lake",
        seed=0,
        rollout=number % rollouts,
        step=0,
        model=policy.name,
        reward=reward(policy.tokenizer.decode(reply)),
        penalty=0.0,
        success=False,
        terminated=True,
        truncated=False,
    )


def trl_steps(policy: Policy, o: argparse.Namespace) -> list[tuple[float, int]]:
    """(CPU seconds, sampled tokens) of every step, with TRL."""
    import datasets
    import transformers
    import trl

    if o.precision == "bfloat16":
        policy.model.to(torch.bfloat16)
    policy.model.requires_grad_(True)
    prompts = prompt_ids(policy, o.prompts)
    texts = [policy.tokenizer.decode(ids) for ids in prompts]
    if policy.tokenizer(texts, add_special_tokens=False)["input_ids"] != prompts:
        print("the prompts are encoded differently from their decoded text", file=sys.stderr)
    rows = o.prompts * o.rollouts
    seconds: list[float] = []
    sampled: list[int] = []

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, *args, **kwargs):
            seconds.append(-time.process_time())

        def on_step_end(self, *args, **kwargs):
            seconds[-1] += time.process_time()

    def episodes(prompt_texts: list[str], trainer) -> dict:
        """All episodes of a step, ordered by group, since the trainer repeats every prompt ``o.rollouts`` times."""
        was_training = policy.model.training
        policy.model.eval()
        trajectories = collect(
            policy,
            "frozen_lake",
            prompts=[TRAINING_SEED + texts.index(text) for text in prompt_texts[:: o.rollouts]],
            rollouts=o.rollouts,
            step=len(seconds),
            sampler=GenerateSampler(policy),
        )
        policy.model.train(was_training)
        sampled.append(sum(int(t.response_mask.sum()) for t in trajectories))
        prompt_lengths = [int(t.response_mask.argmax()) for t in trajectories]
        return {
            "prompt_ids": [t.token_ids[:n].tolist() for t, n in zip(trajectories, prompt_lengths)],
            "completion_ids": [t.token_ids[n:].tolist() for t, n in zip(trajectories, prompt_lengths)],
            "env_mask": [t.response_mask[n:].astype(int).tolist() for t, n in zip(trajectories, prompt_lengths)],
            "logprobs": None,
            "returns": [t.ret for t in trajectories],
        }

    def rewards(completions: list[str], **columns) -> list[float]:
        return columns["returns"] if o.dialogues else [reward(text) for text in completions]

    with tempfile.TemporaryDirectory() as folder:
        config = trl.GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=o.precision == "autocast",
            learning_rate=LR,
            beta=0.0,
            per_device_train_batch_size=o.micro_rows,
            gradient_accumulation_steps=rows // o.micro_rows,
            num_generations=o.rollouts,
            max_completion_length=o.tokens,
            max_steps=o.steps,
            temperature=1.0,
            generation_kwargs={"min_new_tokens": o.tokens},
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            epsilon=0.2,
            epsilon_high=0.28,
        )
        trainer = trl.GRPOTrainer(
            model=policy.model,
            reward_funcs=rewards,
            args=config,
            train_dataset=datasets.Dataset.from_list([{"prompt": text} for text in texts]),
            processing_class=policy.tokenizer,
            callbacks=[Clock()],
            rollout_func=episodes if o.dialogues else None,
        )
        trainer.train()
    return list(zip(seconds, sampled or [rows * o.tokens] * len(seconds)))


def child(o: argparse.Namespace) -> None:
    """Measure one setting in this process and print its figures as JSON."""
    torch.set_num_threads(o.threads)
    policy = load_policy(o.policy, "cpu", "float32")
    peak_before = _peak()
    seconds, sampled = np.array((ours if o.side == "ours" else trl_steps)(policy, o))[1:].mean(0)
    print(
        json.dumps(
            {
                "side": o.side,
                "precision": o.precision,
                "micro": o.micro_tokens if o.side == "ours" else o.micro_rows,
                "seconds_a_step": seconds,
                "tokens_per_second": sampled / seconds,
                "peak_mb": _peak(),
                "peak_above_the_loaded_model_mb": _peak() - peak_before,
            }
        )
    )


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", default="tiny", help="tiny, smollm2, a folder or a hub id")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--rollouts", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--dialogues", action="store_true", help="sample whole episodes of several turns")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--precisions", default="float32,autocast,bfloat16", help="for TRL; this library: float32, autocast"
    )
    parser.add_argument("--micro-tokens", type=int, default=1536, help="padded tokens in a micro-batch of this library")
    for hidden in ("--side", "--precision"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--micro-rows", type=int, default=0, help=argparse.SUPPRESS)
    o = parser.parse_args()
    if o.side:
        return child(o)
    rows = o.prompts * o.rollouts
    settings = [("ours", p, 0) for p in o.precisions.split(",") if p != "bfloat16"]
    settings += [
        ("trl", p, m) for p in o.precisions.split(",") for m in dict.fromkeys((rows, max(o.rollouts, rows // 4)))
    ]
    results = []
    for side, precision, micro in settings:
        command = processes.python(
            "benchmarks.peers", *sys.argv[1:], "--side", side, "--precision", precision, "--micro-rows", micro
        )
        process = processes.run(command, env=processes.environment(threads=None))
        if process.returncode == -signal.SIGKILL:
            print(
                json.dumps({"side": side, "precision": precision, "micro": micro, "killed": "out of memory"}),
                flush=True,
            )
            continue
        process.check_returncode()
        results.append(json.loads(process.stdout.splitlines()[-1]))
        print(json.dumps(results[-1]), flush=True)
    best = {
        side: max((r for r in results if r["side"] == side), key=lambda r: r["tokens_per_second"])
        for side in ("ours", "trl")
    }
    print(
        json.dumps(
            {
                "policy": o.policy,
                "work": [o.prompts, o.rollouts, "episodes" if o.dialogues else o.tokens],
                "threads": o.threads,
                "tokens_per_second_ratio": best["ours"]["tokens_per_second"] / best["trl"]["tokens_per_second"],
                "peak_memory_ratio": best["ours"]["peak_mb"] / best["trl"]["peak_mb"],
            }
        )
    )


if __name__ == "__main__":
    main()
