"""Cost of training a full-size model on this machine's device: python benchmarks/gpu.py --shape 0.5B

One run measures each part against a peer on the same data: the energy pass, against a forward pass that computes the same
logits and discards them; one update (tokens per second, and the model's FLOPs as a fraction of the rate this device reaches
in a plain matrix product); sampling, also with vLLM if it is installed; and a training step under Uniform and ActFocus,
with and without the KL term, which needs the reference's scores in any case.

``--policy`` accepts the names of ``load_policy``. Without it, a model with the shape of Qwen2.5, random weights and the
embedded policy's tokenizer is created, and the output says so. Rollouts are random token ids, four fifths of them sampled,
without common prefixes. Runs on a CPU as well (``--shape random-49k`` is a small model with a vocabulary of 49,152). Prints
one JSON object per line, and a table at the end.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from actfocus_core.errors import ActFocusError
from actfocus_core.losses import normalisers
from actfocus_core.policy import Policy, load_policy
from actfocus_core.policy.sampler import CachedSampler
from actfocus_core.policy.split_model import SplitModel, chunk_rows
from actfocus_core.policy.vllm import VllmEngine, VllmSampler
from actfocus_core.signals import score
from actfocus_core.train import TrainConfig
from actfocus_core.train.batch import TrainingBatch
from actfocus_core.train.grpo import prepare_grpo, update_grpo
from actfocus_core.train.learner import Learner
from actfocus_core.train.sizing.memory import QWEN, Shape
from actfocus_core.train.update import Adam, policy_step
from actfocus_core.trajectory import TokenKind, Trajectory

SHAPES = {**QWEN, "random-49k": Shape(6, 384, 6, 2, 64, 1024, 49152, True)}
MB = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", help="name for load_policy; by default random weights of --shape")
    parser.add_argument("--shape", choices=SHAPES, default="0.5B")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rows", type=int, default=32, help="rollouts in a batch")
    parser.add_argument("--length", type=int, default=1024, help="tokens per rollout")
    parser.add_argument("--streams", type=int, default=128, help="replies sampled at once")
    parser.add_argument("--reply", type=int, default=128, help="tokens per reply")
    parser.add_argument("--micro-tokens", type=int, default=16384)
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing: recompute activations")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", default="energy,update,sampling,schemes")
    o = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        name = o.policy or make_model(SHAPES[o.shape], Path(folder))
        policy = load_policy(name, o.device)
        device = policy.device
        device_name = (
            torch.cuda.get_device_name()
            if device.type == "cuda"
            else f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
        )
        report(
            {
                "device": device_name,
                "torch": torch.__version__,
                "weights": o.policy or f"random, of the shape of {o.shape}",
                "parameters": sum(p.numel() for p in policy.model.parameters()),
                "dtype": str(policy.model.dtype),
                "rows": o.rows,
                "length": o.length,
            }
        )
        rows = []
        for part in o.parts.split(","):
            rows += PARTS[part](policy, name, o)
            gc.collect()
    print("\n| part | figure | value |\n|---|---|---|")
    for row in rows:
        part = row.pop("part")
        print("\n".join(f"| {part} | {key} | {value:.4g} |" for key, value in row.items()))


def make_model(shape: Shape, folder: Path) -> str:
    """Save a Qwen2 of this shape with seeded random weights and the embedded policy's tokenizer; returns the folder."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=32768,
        dtype=torch.bfloat16,
    )
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    load_policy("tiny", "cpu").tokenizer.save_pretrained(folder)
    return str(folder)


def rollouts(policy: Policy, o: argparse.Namespace) -> list[Trajectory]:
    """Trajectories of random ids, a fifth of them in the prompt, in groups of 8 with returns 0 and 1."""
    rng = np.random.default_rng(0)
    vocabulary = policy.model.get_input_embeddings().weight.shape[0]
    prompt, trajectories = o.length // 5, []
    for i in range(o.rows):
        response_kinds = rng.choice(
            [TokenKind.REASONING, TokenKind.ACTION, TokenKind.FORMAT], o.length - prompt, p=[0.8, 0.15, 0.05]
        )
        logprobs = np.concatenate([np.full(prompt, np.nan), np.full(o.length - prompt, -np.log(vocabulary))])
        trajectories.append(
            Trajectory(
                id=str(i),
                token_ids=rng.integers(0, vocabulary, o.length),
                turns=np.zeros(o.length, int),
                kinds=np.concatenate([np.full(prompt, TokenKind.USER), response_kinds]),
                logprobs=logprobs,
                texts=[""] * o.length,
                turn_records=[],
                signals={"entropy": logprobs * -1},
                group=str(i // 8),
                env="frozen_lake",
                seed=i // 8,
                rollout=i % 8,
                step=1,
                model=policy.name,
                reward=float(i % 2),
                penalty=0.0,
                success=bool(i % 2),
                terminated=True,
                truncated=False,
            )
        )
    return trajectories


# --- the parts ---------------------------------------------------------------------------------------


def energy(policy: Policy, name: str, o: argparse.Namespace) -> list[dict]:
    """The signals of the frozen reference, against a bare forward pass with the output layer."""
    trajectories = rollouts(policy, o)
    split = SplitModel(policy.model)
    chunk = chunk_rows(split.head.weight.shape[0], policy.device)
    batch_rows = max(1, o.micro_tokens // o.length)
    all_ids = torch.from_numpy(np.stack([t.token_ids for t in trajectories]).astype(np.int64))
    masks = torch.from_numpy(np.stack([t.response_mask for t in trajectories]))

    @torch.no_grad()
    def bare() -> None:
        for ids, sampled in zip(all_ids.split(batch_rows), masks.split(batch_rows)):
            for part in split.hidden(ids.to(policy.device))[sampled.to(policy.device)].split(chunk):
                split.logits(part)

    def signals() -> None:
        score(trajectories, policy, tokens_per_batch=o.micro_tokens)

    times = alternate({"bare": bare, "signals": signals}, policy, o.repeats)
    tokens = o.rows * o.length
    return [
        report(
            {
                "part": "energy",
                "signals_tokens_per_second": tokens / times["signals"][0],
                "bare_tokens_per_second": tokens / times["bare"][0],
                "time_ratio": times["signals"][0] / times["bare"][0],
                "bare_peak_mb": times["bare"][1] / MB,
                "signals_peak_mb": times["signals"][1] / MB,
                "extra_peak_mb": (times["signals"][1] - times["bare"][1]) / MB,
            }
        )
    ]


def update(policy: Policy, name: str, o: argparse.Namespace) -> list[dict]:
    """One optimiser step on all parameters, with float32 weights and, on a GPU, bfloat16 arithmetic."""
    config = make_config(name, o)
    learner = Learner(config, load_policy(name, o.device, "float32"))
    trajectories = rollouts(policy, o)
    n = sum(len(t) for t in trajectories)
    columns = {
        "old_logprobs": np.concatenate([t.logprobs for t in trajectories]),
        "advantages": np.where(np.arange(n) % 2, 1.0, -1.0),
        "weights": np.ones(n),
        "keep": np.ones(n),
        "clip_scale": np.ones(n),
    }
    batch = TrainingBatch(trajectories, {name: values.astype(np.float32) for name, values in columns.items()})
    # Groups of one: no prefix is shared, every token is computed once.
    for i, t in enumerate(trajectories):
        t.group = str(i)
    rows = np.arange(len(trajectories))
    normaliser = normalisers(batch.total("weights"), [rows], "minibatch")
    adam = Adam(learner.policy.model.named_parameters(), 1e-6, 0, 1.0)

    def step() -> None:
        with learner.updating():
            policy_step(learner.model, adam, batch, rows, normaliser, config, 1)

    seconds, peak = alternate({"step": step}, policy, o.repeats)["step"]
    model_flops = 3 * forward_flops(Shape.of(policy.model.config), o.rows, o.length)
    peak_rate = matrix_product_flops(policy)
    return [
        report(
            {
                "part": "update",
                "tokens_per_second": n / seconds,
                "seconds": seconds,
                "peak_mb": peak / MB,
                "model_tflops_per_second": model_flops / seconds / 1e12,
                "matrix_product_tflops_per_second": peak_rate / 1e12,
                "model_flop_use": model_flops / seconds / peak_rate,
            }
        )
    ]


def sampling(policy: Policy, name: str, o: argparse.Namespace) -> list[dict]:
    """Replies of a fixed length in groups of 8 with a common prompt of a fifth of ``--length``."""
    samplers = {"transformers": CachedSampler(policy)}
    try:
        samplers["vllm"] = VllmSampler(VllmEngine(policy, policy.device.type == "cuda", 0.4))
    except ActFocusError as error:
        report({"part": "sampling", "vllm": str(error)})
    rng = np.random.default_rng(0)
    prompts = [
        rng.integers(0, policy.model.config.vocab_size, o.length // 5).tolist() for _ in range(-(-o.streams // 8))
    ]
    blocks = [prompts[i // 8] for i in range(o.streams)]
    for sampler in samplers.values():
        # No token ends a reply, so both samplers produce the same number of tokens.
        if isinstance(sampler, CachedSampler):
            sampler.stop = sampler.stop[:0]
        else:
            sampler.engine.stop = []

    def play(sampler) -> Callable[[], None]:
        def run() -> None:
            sampler.begin(o.streams)
            assert (
                sum(len(r.ids) for r in sampler.reply(blocks, o.reply, rng.random((o.streams, o.reply))))
                == o.streams * o.reply
            )

        return run

    times = alternate({kind: play(sampler) for kind, sampler in samplers.items()}, policy, o.repeats)
    row = {
        "part": "sampling",
        **{f"{kind}_tokens_per_second": o.streams * o.reply / seconds for kind, (seconds, _) in times.items()},
    }
    if "vllm" in times:
        row["vllm_over_transformers"] = times["transformers"][0] / times["vllm"][0]
    return [report(row)]


def schemes(policy: Policy, name: str, o: argparse.Namespace) -> list[dict]:
    """A training step after its rollouts, under two schemes, with and without the KL to the reference."""
    learners = {
        (scheme, kl): Learner(make_config(name, o, scheme=scheme, kl_coef=kl), load_policy(name, o.device, "float32"))
        for scheme in ("uniform", "actfocus")
        for kl in (0.0, 0.001)
    }
    rng = np.random.default_rng(1)

    def step(learner: Learner) -> Callable[[], None]:
        def run() -> None:
            # New trajectories without signals, and random returns, so that every group has a gradient.
            trajectories = rollouts(policy, o)
            for t in trajectories:
                t.reward = float(rng.random())
            prepared = prepare_grpo(learner, trajectories)
            with learner.updating():
                update_grpo(learner, prepared, 1)

        return run

    times = {
        key: seconds
        for key, (seconds, _) in alternate(
            {key: step(learner) for key, learner in learners.items()}, policy, o.repeats
        ).items()
    }
    with_kl = times["actfocus", 0.001] / times["uniform", 0.001]
    return [
        report(
            {
                "part": "schemes",
                "uniform_seconds": times["uniform", 0.0],
                "actfocus_seconds": times["actfocus", 0.0],
                "uniform_kl_seconds": times["uniform", 0.001],
                "actfocus_kl_seconds": times["actfocus", 0.001],
                "actfocus_over_uniform_with_kl": with_kl,
                "actfocus_over_uniform": times["actfocus", 0.0] / times["uniform", 0.0],
                "reference_pass_share": 1 - times["uniform", 0.0] / times["uniform", 0.001],
            }
        )
    ]


PARTS = {"energy": energy, "update": update, "sampling": sampling, "schemes": schemes}


# --- measuring ---------------------------------------------------------------------------------------


def make_config(name: str, o: argparse.Namespace, **values) -> TrainConfig:
    return TrainConfig.of(
        model=name,
        micro_tokens=o.micro_tokens,
        entropy_coef=0.0,
        minibatch=o.rows,
        gradient_checkpointing=o.checkpointing,
        **values,
    )


def alternate(tasks: dict, policy: Policy, repeats: int) -> dict:
    """Key -> (best seconds, peak bytes) of each task; all tasks run once as a warm-up, then alternately."""
    clock = time.perf_counter if policy.device.type == "cuda" else time.process_time
    best = {key: float("inf") for key in tasks}
    peaks = dict.fromkeys(tasks, 0)
    for repeat in range(repeats + 1):
        for key, task in tasks.items():
            reset_peak(policy.device)
            start = clock()
            task()
            if policy.device.type == "cuda":
                torch.cuda.synchronize()
            if repeat:
                best[key] = min(best[key], clock() - start)
                peaks[key] = max(peaks[key], peak_of(policy.device))
    return {key: (best[key], peaks[key]) for key in tasks}


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_of(device: torch.device) -> int:
    """Peak bytes of the device, or on a CPU of the process, since the last reset."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def forward_flops(shape: Shape, rows: int, length: int) -> float:
    """Floating-point operations of a forward pass: two per weight and token, and those of causal attention."""
    weights = shape.layers * sum(a * b for a, b in shape.linear) + shape.vocabulary * shape.width
    attention = shape.layers * shape.heads * shape.head * 2 * length
    return rows * length * (2.0 * weights + attention)


def matrix_product_flops(policy: Policy) -> float:
    """Floating-point operations per second of a large matrix product in the policy's dtype."""
    size = 8192 if policy.device.type == "cuda" else 1024
    a = torch.randn(size, size, device=policy.device, dtype=policy.model.dtype)
    seconds, _ = alternate({"product": lambda: [a @ a for _ in range(10)]}, policy, 3)["product"]
    return 10 * 2 * size**3 / seconds


def report(row: dict) -> dict:
    print(json.dumps(row), flush=True)
    return row


if __name__ == "__main__":
    main()
